import * as zlib from "node:zlib";

/** CRC-32 (ISO 3309, reflected polynomial EDB88320), byte by byte: for Node before 20.15, which has no `zlib.crc32`. */
const TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let value = byte;
  for (let bit = 0; bit < 8; bit += 1) value = value & 1 ? (value >>> 1) ^ 0xedb88320 : value >>> 1;
  return value;
});

/** @param ascii text of one-byte characters */
export function tableCrc32(ascii: string): number {
  let crc = 0xffffffff;
  for (let i = 0; i < ascii.length; i += 1) crc = (crc >>> 8) ^ (TABLE[(crc ^ ascii.charCodeAt(i)) & 0xff] ?? 0);
  return (crc ^ 0xffffffff) >>> 0;
}

const native = (zlib as { crc32?: (data: string) => number }).crc32;

/** CRC-32 of an ASCII text, as an unsigned 32-bit number. */
export const crc32: (ascii: string) => number = typeof native === "function" ? (ascii) => native(ascii) : tableCrc32;
