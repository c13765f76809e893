import {
  DisplayString,
  type BareItem,
  type Dictionary,
  type InnerList,
  type Item,
  type List,
  type Parameters,
  Token,
} from "structured-headers";
import { readVectors, vectorFiles } from "./vectors.js";

/** Rows of httpwg/structured-field-tests, and their values as the structured-headers package has them. */

type Tagged = { readonly __type: "token" | "binary" | "date" | "displaystring"; readonly value: string | number };
export type Bare = string | number | boolean | Tagged;
export type Params = readonly (readonly [string, Bare])[];
export type PlainItem = readonly [Bare, Params];
export type Member = readonly [Bare | readonly PlainItem[], Params];

interface Common {
  readonly name: string;
  readonly raw?: readonly string[];
  readonly canonical?: readonly string[];
  readonly must_fail?: boolean;
  /** A receiver may refuse it. */
  readonly can_fail?: boolean;
}
export type Vector = Common &
  (
    | { readonly header_type: "item"; readonly expected?: PlainItem }
    | { readonly header_type: "list"; readonly expected?: readonly Member[] }
    | { readonly header_type: "dictionary"; readonly expected?: readonly (readonly [string, Member])[] }
  );

/** Every row of the files that begin with text. */
export function parsingVectors(): Vector[] {
  return vectorFiles("structured-fields").flatMap((file) => readVectors<Vector[]>(file));
}

/** Every row of the files that begin with a value. */
export function serialisingVectors(): Vector[] {
  return vectorFiles("structured-fields/serialisation-tests").flatMap((file) => readVectors<Vector[]>(file));
}

/** The text a row's value is written as, `undefined` where the file does not say. */
export function canonicalOf({ canonical, raw }: Vector): string | undefined {
  if (canonical !== undefined) return canonical[0] ?? "";
  return raw?.length === 1 ? raw[0] : undefined;
}

/** The vectors write bytes in base32 (RFC 4648 section 6). */
export function base32(text: string): Buffer {
  let bits = "";
  for (const char of text.replace(/=+$/, ""))
    bits += "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567".indexOf(char).toString(2).padStart(5, "0");
  return Buffer.from((bits.match(/.{8}/g) ?? []).map((byte) => parseInt(byte, 2)));
}

export function bareItem(value: Bare): BareItem {
  if (typeof value !== "object") return value;
  switch (value.__type) {
    case "token":
      return new Token(String(value.value));
    case "binary":
      return base32(String(value.value));
    case "date":
      return new Date(Number(value.value) * 1000);
    case "displaystring":
      return new DisplayString(String(value.value));
  }
}

const parameters = (params: Params): Parameters => new Map(params.map(([key, value]) => [key, bareItem(value)]));
const item = ([value, params]: PlainItem): Item => [bareItem(value), parameters(params)];
const member = ([value, params]: Member): Item | InnerList =>
  Array.isArray(value)
    ? [(value as readonly PlainItem[]).map(item), parameters(params)]
    : item([value as Bare, params]);

/** The value of a row as the package takes it. */
export function packaged(vector: Vector): Item | List | Dictionary {
  switch (vector.header_type) {
    case "item":
      return item(vector.expected!);
    case "list":
      return vector.expected!.map(member);
    case "dictionary":
      return new Map(vector.expected!.map(([key, value]) => [key, member(value)]));
  }
}

/** What the package read, in the terms of the vectors. */
export function plain(value: unknown): unknown {
  if (value instanceof Map) return [...value].map(([key, inner]) => [key, plain(inner)]);
  if (Array.isArray(value)) return value.map(plain);
  if (value instanceof Token) return { __type: "token", value: value.toString() };
  if (value instanceof DisplayString) return { __type: "displaystring", value: value.toString() };
  if (value instanceof Date) return { __type: "date", value: value.getTime() / 1000 };
  if (value instanceof ArrayBuffer) return { bytes: Buffer.from(value).toString("hex") };
  return value;
}

/** What the file expects, in the same terms. */
export function expectedPlain(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(expectedPlain);
  if (typeof value === "object" && value !== null && (value as Tagged).__type === "binary")
    return { bytes: base32(String((value as Tagged).value)).toString("hex") };
  return value;
}
