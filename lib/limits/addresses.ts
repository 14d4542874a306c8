/**
 * Finds the address of the client that has sent a request, also behind proxies (`TRUSTED_PROXIES`).
 *
 * A proxy connects to Roomcast with its own address and appends the address of its peer to the header
 * `X-Forwarded-For`. A client may send this header itself, with any content. Therefore only the entries count that
 * trusted proxies have appended: the header is read from its end, and the first address that is no trusted proxy is the
 * client's.
 *
 * @module
 */
import type { IncomingMessage } from "node:http";
import { BlockList, isIP } from "node:net";

/** Maximum number of entries of `X-Forwarded-For` that are read, counted from the end of the header. */
const HOPS_MAX = 32;
/** Matches an address with a port, as some proxies write it: `192.0.2.1:4711` or `[2001:db8::1]:4711`. */
const WITH_PORT = /^(?:(\d+\.\d+\.\d+\.\d+)|\[([\da-f:.]+)\])(?::\d{1,5})?$/i;

/** Key under which a request stores the address that was found. */
const FOUND = Symbol("client address");

/** The part of a request from which the client's address is found. */
export type AddressedRequest =
  & Pick<IncomingMessage, "headers">
  & {
    readonly socket: { readonly remoteAddress?: string | undefined };
    [FOUND]?: string;
  };

/**
 * Returns the address of the client that has sent a request. The first call stores it, so that later calls find it after
 * the request's connection was closed. An empty text if the connection was closed before the first call.
 */
export type ClientAddress = (request: AddressedRequest) => string;

/**
 * Creates the function that finds the addresses of clients.
 *
 * @param trustedProxies Addresses and ranges such as `10.0.0.0/8`, each of which {@linkcode isAddressRange} accepts.
 * @param onUntrusted Called with the address of a peer that sends `X-Forwarded-For` and is not in `trustedProxies`,
 * unless these are empty. It is a proxy that is missing there, or a client that sends the header itself.
 */
export function clientAddresses(
  trustedProxies: readonly string[],
  onUntrusted: (address: string) => void = () => {},
): ClientAddress {
  const find = trustedProxies.length === 0
    ? peerOf
    : behind(trustedProxies, onUntrusted);
  return (request) => request[FOUND] ??= find(request);
}

/** Creates the function that finds addresses behind these proxies. */
function behind(
  trustedProxies: readonly string[],
  onUntrusted: (address: string) => void,
): ClientAddress {
  const trusted = new BlockList();
  for (const range of trustedProxies) addRange(trusted, range);
  const isTrusted = (address: string): boolean =>
    address !== "" &&
    trusted.check(address, address.includes(":") ? "ipv6" : "ipv4");
  return (request) => {
    let address = peerOf(request);
    const header = request.headers["x-forwarded-for"];
    if (header === undefined || address === "") return address;
    if (!isTrusted(address)) {
      onUntrusted(address);
      return address;
    }
    const text = String(header);
    for (let end = text.length, hops = 0; hops < HOPS_MAX; hops++) {
      if (end < 0 || !isTrusted(address)) return address;
      const start = text.lastIndexOf(",", end - 1);
      const sender = parseAddress(text.slice(start + 1, end).trim());
      // No trusted proxy writes anything but an address, so what precedes is not to be trusted either.
      if (sender === undefined) return address;
      address = sender;
      end = start;
    }
    return address;
  };
}

/** Returns whether a text is an IPv4 or IPv6 address, or a range of addresses such as `10.0.0.0/8`. */
export function isAddressRange(text: string): boolean {
  const [address = "", bits, ...more] = text.split("/");
  const family = isIP(address);
  if (family === 0 || address.includes("%") || more.length > 0) return false;
  return bits === undefined ||
    (/^\d{1,3}$/.test(bits) && Number(bits) <= (family === 4 ? 32 : 128));
}

/**
 * Returns the group of addresses that one user can have: an IPv4 address alone, or the first 64 bits of an IPv6
 * address, because a user usually has all addresses with the same 64 bits.
 */
export function addressGroup(address: string): string {
  if (!address.includes(":")) return address;
  const [head = "", tail] = address.split("::");
  const first = head === "" ? [] : head.split(":");
  const last = tail === undefined || tail === "" ? [] : tail.split(":");
  const zeros = Array(Math.max(8 - first.length - last.length, 0)).fill("0");
  return `${[...first, ...zeros, ...last].slice(0, 4).join(":")}::/64`;
}

function peerOf({ socket }: AddressedRequest): string {
  return parseAddress(socket.remoteAddress ?? "") ?? "";
}

/**
 * Returns an address in its shortest form: without a port and a zone, and an IPv4 address without the prefix `::ffff:`
 * of IPv6. Returns undefined if the text is not an address.
 */
function parseAddress(text: string): string | undefined {
  const [, ipv4, ipv6] = WITH_PORT.exec(text) ?? [];
  const [address = ""] = (ipv4 ?? ipv6 ?? text).split("%");
  switch (isIP(address)) {
    case 4:
      return address;
    case 6: {
      const short = new URL(`http://[${address}]/`).hostname.slice(1, -1);
      const mapped = /^::ffff:([\da-f]{1,4}):([\da-f]{1,4})$/.exec(short);
      if (mapped === null) return short;
      const bits = [mapped[1], mapped[2]].map((part) =>
        parseInt(`${part}`, 16)
      );
      return bits.flatMap((part) => [part >> 8, part & 255]).join(".");
    }
    default:
      return undefined;
  }
}

function addRange(list: BlockList, range: string): void {
  const [text = "", bits] = range.split("/");
  const address = parseAddress(text) ?? text;
  const isMapped = text.includes(":") && !address.includes(":");
  const family = address.includes(":") ? "ipv6" : "ipv4";
  if (bits === undefined) return list.addAddress(address, family);
  list.addSubnet(address, Number(bits) - (isMapped ? 96 : 0), family);
}
