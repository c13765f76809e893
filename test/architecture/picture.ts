import type { Import } from "./imports.js";
import { count, folderOf, foldersOf, HOUSE, type Room } from "./rooms.js";

const WIDTH = 1000;
/** Room for the lanes of arrows that pass by a row. */
const LANE = 22;
const GAP = 46;
const LEAF_HEIGHT = 52;
const INK = "#1f2933";
const FAINT = "#52606d";
const LINE = "#3867a5";
const WRONG = "#c62828";
const FILLS = ["#ffffff", "#eef3f9", "#ffffff"];

interface Box {
  readonly x: number;
  readonly y: number;
  readonly width: number;
  readonly height: number;
}

/** An arrow from one row to another of the same room. */
interface Arrow {
  readonly from: number;
  readonly to: number;
  readonly imports: number;
}

interface Plan {
  readonly imports: readonly Import[];
  readonly owner: (file: string) => string;
  readonly files: ReadonlyMap<string, number>;
}

/** The folders of `src` from top to bottom, and how many imports lead from row to row. The same text for the same imports. */
export function picture(files: readonly string[], imports: readonly Import[]): string {
  const folders = foldersOf(HOUSE);
  const owner = (file: string): string => folderOf(file, folders);
  const sizes = new Map<string, number>();
  for (const file of files) sizes.set(owner(file), (sizes.get(owner(file)) ?? 0) + 1);
  const { shapes, height } = rowsOf(HOUSE, { imports, owner, files: sizes }, 10, 44, WIDTH - 20, 0);
  const total = height + 44 + 34;
  return `${[
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${total}" width="${WIDTH}" height="${total}" font-family="system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans', sans-serif" role="img" aria-label="Folders of src and the imports between them">`,
    `<!-- Made by test/architecture/draw.ts from the imports of src. Do not edit. -->`,
    `<defs>${marker("arrow", LINE)}${marker("wrong", WRONG)}</defs>`,
    `<rect width="${WIDTH}" height="${total}" fill="#ffffff"/>`,
    text(10, 26, `${files.length} files, ${imports.length} imports between them`, 13, FAINT),
    ...shapes,
    text(
      10,
      total - 12,
      "A number counts the import statements, of types too, from one row to another. Imports within a row are not shown.",
      12,
      FAINT,
    ),
    "</svg>",
  ].join("\n")}\n`;
}

function rowsOf(
  room: Room,
  plan: Plan,
  x: number,
  y: number,
  width: number,
  depth: number,
): { shapes: string[]; height: number } {
  const rows = room.rows ?? [];
  const arrows = arrowsBetween(rows, plan);
  const sides = lanesOf(arrows.filter(({ from, to }) => to !== from + 1));
  const gutter = sides.size === 0 ? 0 : Math.max(...[...sides.values()].map(({ lane }) => lane)) * LANE + 18;
  const inner = { x: x + gutter, width: width - 2 * gutter };
  const shapes: string[] = [];
  const boxes: Box[] = [];
  let top = y;
  for (const row of rows) {
    const drawn = rowOf(row, plan, inner.x, top, inner.width, depth + 1);
    shapes.push(...drawn.shapes);
    boxes.push({ x: inner.x, y: top, width: inner.width, height: drawn.height });
    top += drawn.height + GAP;
  }
  const places = labelPlaces(arrows, sides);
  for (const arrow of arrows)
    shapes.push(...draw(arrow, boxes, sides.get(arrow), offsets(arrow, sides), places.get(arrow)));
  return { shapes, height: top - GAP - y };
}

function rowOf(
  row: readonly Room[],
  plan: Plan,
  x: number,
  y: number,
  width: number,
  depth: number,
): { shapes: string[]; height: number } {
  const gap = 6;
  const each = (width - gap * (row.length - 1)) / row.length;
  const drawn = row.map((room, index) => roomAt(room, plan, round(x + index * (each + gap)), y, round(each), depth));
  return { shapes: drawn.flatMap(({ shapes }) => shapes), height: Math.max(...drawn.map(({ height }) => height)) };
}

function roomAt(
  room: Room,
  plan: Plan,
  x: number,
  y: number,
  width: number,
  depth: number,
): { shapes: string[]; height: number } {
  const fill = FILLS[depth % FILLS.length] ?? "#ffffff";
  const middle = round(x + width / 2);
  if (room.rows === undefined) {
    const files = plan.files.get(room.folder ?? "") ?? 0;
    return {
      shapes: [
        rect({ x, y, width, height: LEAF_HEIGHT }, fill, detail(room, plan)),
        text(middle, y + 22, room.name, 12, INK, "middle", true),
        text(middle, y + 40, room.about ?? `${files} files`, 11, FAINT, "middle"),
      ],
      height: LEAF_HEIGHT,
    };
  }
  const pad = 10;
  const head = 30;
  const inside = rowsOf(room, plan, x + pad, y + head, width - 2 * pad, depth);
  const height = inside.height + head + pad;
  const between = room.areSeparate === true ? sideways(room, plan) : undefined;
  return {
    shapes: [
      rect({ x, y, width, height }, fill, ""),
      `<text x="${x + pad}" y="${y + 20}" font-size="13" fill="${INK}"><tspan font-weight="600">${room.name}</tspan><tspan fill="${FAINT}">  ${escape(room.about ?? "")}</tspan></text>`,
      ...(between === undefined
        ? []
        : [
            `<text x="${x + width - pad}" y="${y + 20}" font-size="12" fill="${between === 0 ? FAINT : WRONG}" text-anchor="end">${between === 0 ? "no" : between} imports between them</text>`,
          ]),
      ...inside.shapes,
    ],
    height,
  };
}

/** Imports from one of the folders of a room to another of them. */
function sideways(room: Room, { imports, owner }: Plan): number {
  const folders = foldersOf(room);
  return (
    count(imports, owner, folders, folders) - folders.reduce((sum, one) => sum + count(imports, owner, [one], [one]), 0)
  );
}

/** What a pointer that rests on a folder shows: what it imports, folder by folder. */
function detail(room: Room, { imports, owner, files }: Plan): string {
  const folder = room.folder ?? "";
  const targets = new Map<string, number>();
  for (const one of imports)
    if (owner(one.from) === folder && owner(one.to) !== folder)
      targets.set(owner(one.to), (targets.get(owner(one.to)) ?? 0) + 1);
  const lines = [...targets]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([to, imported]) => `${imported} from ${to === "" ? "src/*.ts" : `src/${to}`}`);
  return `<title>src/${folder}: ${files.get(folder) ?? 0} files. Imports: ${lines.join(", ") || "none"}</title>`;
}

function arrowsBetween(rows: readonly (readonly Room[])[], { imports, owner }: Plan): Arrow[] {
  const folders = rows.map((row) => row.flatMap(foldersOf));
  return folders.flatMap((from, i) =>
    folders.flatMap((to, j) => {
      const found = i === j ? 0 : count(imports, owner, from, to);
      return found === 0 ? [] : [{ from: i, to: j, imports: found }];
    }),
  );
}

interface Lane {
  readonly side: "left" | "right";
  /** 1 is next to the boxes. */
  readonly lane: number;
}

/** Shorter ways lie inside longer ones, and what does not overlap may share a lane. */
function lanesOf(arrows: readonly Arrow[]): Map<Arrow, Lane> {
  const taken: { lane: Lane; top: number; bottom: number }[] = [];
  const lanes = new Map<Arrow, Lane>();
  const bySpan = [...arrows].sort((a, b) => Math.abs(a.to - a.from) - Math.abs(b.to - b.from) || a.from - b.from);
  for (const arrow of bySpan) {
    const top = Math.min(arrow.from, arrow.to);
    const bottom = Math.max(arrow.from, arrow.to);
    const choices: Lane[] = Array.from({ length: 2 * arrows.length }, (_, index) => ({
      side: index % 2 === 0 ? "left" : "right",
      lane: Math.floor(index / 2) + 1,
    }));
    const free = choices.find(({ side, lane }) =>
      taken.every(
        (other) => other.lane.side !== side || other.lane.lane < lane || other.bottom <= top || bottom <= other.top,
      ),
    );
    if (free === undefined) throw new Error("There is always another lane.");
    taken.push({ lane: free, top, bottom });
    lanes.set(arrow, free);
  }
  return lanes;
}

/** The gap below which row holds the number of each arrow that passes by: one where no neighbour has its own. */
function labelPlaces(arrows: readonly Arrow[], sides: ReadonlyMap<Arrow, Lane>): Map<Arrow, number> {
  const places = new Map<Arrow, number>();
  for (const arrow of arrows) {
    const own = sides.get(arrow);
    if (own === undefined) continue;
    const first = Math.min(arrow.from, arrow.to);
    const gaps = Array.from({ length: Math.abs(arrow.to - arrow.from) }, (_, index) => first + index);
    const isFree = (gap: number): boolean =>
      [...places].every(([other, taken]) => {
        const lane = sides.get(other);
        return taken !== gap || lane?.side !== own.side || Math.abs(lane.lane - own.lane) > 1;
      });
    places.set(arrow, gaps.find(isFree) ?? first);
  }
  return places;
}

function draw(
  arrow: Arrow,
  boxes: readonly Box[],
  lane: Lane | undefined,
  offset: { from: number; to: number },
  labelledGap: number | undefined,
): string[] {
  const from = boxes[arrow.from];
  const to = boxes[arrow.to];
  if (from === undefined || to === undefined) return [];
  const isWrong = arrow.to < arrow.from;
  const style = `fill="none" stroke="${isWrong ? WRONG : LINE}" stroke-width="1.5" marker-end="url(#${isWrong ? "wrong" : "arrow"})"`;
  if (lane === undefined) {
    const x = round(from.x + from.width / 2);
    const start = from.y + from.height;
    return [
      `<path d="M${x} ${start}V${to.y - 2}" ${style}/>`,
      label(x, round((start + to.y) / 2), arrow.imports, isWrong),
    ];
  }
  const edge = (box: Box): number => (lane.side === "left" ? box.x : box.x + box.width);
  const x = edge(from) + (lane.side === "left" ? -1 : 1) * (lane.lane * LANE);
  const start = from.y + from.height - 8 - offset.from;
  const end = to.y + 8 + offset.to;
  const tip = edge(to) + (lane.side === "left" ? -2 : 2);
  const above = boxes[labelledGap ?? arrow.from];
  return [
    `<path d="M${edge(from)} ${start}H${x}V${end}H${tip}" ${style}/>`,
    label(x, (above?.y ?? 0) + (above?.height ?? 0) + GAP / 2, arrow.imports, isWrong),
  ];
}

/**
 * Distances of an arrow's ends from those of the lanes inside its own, at the same row and side. Arrows leave at the foot of a
 * row, the outer ones higher, and arrive at its head, the outer ones lower: so none of these crosses another.
 */
function offsets(arrow: Arrow, sides: ReadonlyMap<Arrow, Lane>): { from: number; to: number } {
  const own = sides.get(arrow);
  const inside = [...sides]
    .filter(([, { side, lane }]) => side === own?.side && lane < own.lane)
    .map(([other]) => other);
  return {
    from: inside.filter((other) => other.from === arrow.from).length * 11,
    to: inside.filter((other) => other.to === arrow.to).length * 11,
  };
}

function label(x: number, y: number, imports: number, isWrong: boolean): string {
  const width = 10 + 7 * String(imports).length;
  return `<rect x="${round(x - width / 2)}" y="${y - 8}" width="${width}" height="16" rx="8" fill="#ffffff" stroke="${isWrong ? WRONG : LINE}" stroke-width="0.75"/>${text(x, y + 4, String(imports), 11, isWrong ? WRONG : INK, "middle")}`;
}

function rect({ x, y, width, height }: Box, fill: string, inside: string): string {
  return `<rect x="${x}" y="${y}" width="${width}" height="${height}" rx="6" fill="${fill}" stroke="#9aa5b1">${inside}</rect>`;
}

function text(
  x: number,
  y: number,
  content: string,
  size: number,
  fill: string,
  anchor?: "middle",
  isBold?: boolean,
): string {
  return `<text x="${x}" y="${y}" font-size="${size}" fill="${fill}"${anchor === undefined ? "" : ` text-anchor="${anchor}"`}${isBold === true ? ' font-weight="600"' : ""}>${escape(content)}</text>`;
}

function marker(id: string, fill: string): string {
  return `<marker id="${id}" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto"><path d="M0 0L8 4L0 8z" fill="${fill}"/></marker>`;
}

function escape(content: string): string {
  return content.replaceAll("&", "&amp;").replaceAll("<", "&lt;");
}

function round(value: number): number {
  return Math.round(value * 10) / 10;
}
