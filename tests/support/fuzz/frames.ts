/** Encodes WebSocket frames of a client, valid ones and others. */

/** The parts of a frame. Without options a frame is a valid, complete text. */
export interface FrameParts {
  /** The payload as bytes, see `values.ts`. */
  readonly payload: string;
  readonly opcode?: number;
  readonly fin?: boolean;
  /** The three reserved bits, as a number. */
  readonly reserved?: number;
  readonly masked?: boolean;
  /** The number of bits of the length, or the shortest form that can hold it. */
  readonly form?: "shortest" | 7 | 16 | 64;
  /** The length that the frame declares; undefined for the true one. */
  readonly declared?: number | undefined;
}

/** The mask of all frames. Zeros would hide a mask that is applied twice or not at all. */
const MASK = "\x37\xfa\x21\x3d";

/** Returns the bytes of a frame. */
export function frameOf(
  {
    payload,
    opcode = 1,
    fin = true,
    reserved = 0,
    masked = true,
    form = "shortest",
    declared = payload.length,
  }: FrameParts,
): string {
  const bits = form !== "shortest"
    ? form
    : declared < 126
    ? 7
    : declared < 65_536
    ? 16
    : 64;
  const first = (fin ? 0x80 : 0) | (reserved << 4) | opcode;
  const short = bits === 7 ? declared & 0x7f : bits === 16 ? 126 : 127;
  const head = bytesOf([first, (masked ? 0x80 : 0) | short]) +
    (bits === 7 ? "" : bigEndian(declared, bits / 8));
  if (!masked) return head + payload;
  return head + MASK +
    [...payload].map((byte, index) =>
      bytesOf([byte.charCodeAt(0) ^ MASK.charCodeAt(index % 4)])
    ).join("");
}

function bytesOf(numbers: readonly number[]): string {
  return String.fromCharCode(...numbers.map((number) => number & 0xff));
}

function bigEndian(number: number, length: number): string {
  const digits = BigInt(number);
  return bytesOf(
    Array.from(
      { length },
      (_, index) => Number((digits >> BigInt(8 * (length - 1 - index))) & 255n),
    ),
  );
}
