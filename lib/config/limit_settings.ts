/**
 * The settings that limit how many clients connect and how much each sender may send.
 *
 * @module
 */
import { isLoopback } from "../access/origins.ts";
import { isAddressRange } from "../limits/addresses.ts";
import { EVENTS_BURST_SECONDS } from "../limits/rate_limit.ts";
import type { EnvReader } from "./env_reader.ts";

/** The settings that limit clients and publishers. */
export interface LimitSettings {
  /** The addresses and ranges of addresses of the proxies whose `X-Forwarded-For` counts. */
  readonly trustedProxies: readonly string[];
  /** Maximum number of clients of this node; 0 for no limit. */
  readonly clientsMax: number;
  /** Maximum number of clients from one address, or from the same 64 bits of an IPv6 address; 0 for no limit. */
  readonly clientsPerAddressMax: number;
  /** Maximum number of clients that connect to this node per second; 0 for no limit. */
  readonly connectsPerSecondMax: number;
  /** Maximum number of events that a client may send per second. */
  readonly eventsPerSecondMax: number;
  /** Maximum number of messages that are published with each key per second, once for each room; 0 for no limit. */
  readonly publishesPerSecondMax: number;
}

/** The maximum of each limit that can be switched off with 0. */
const COUNT_MAX = 10_000_000;

/** The limits that do not exist by default. Set and empty, they are refused. */
const OPTIONAL_LIMITS = [
  "CLIENTS_MAX",
  "CLIENTS_PER_ADDRESS_MAX",
  "CONNECTS_PER_SECOND_MAX",
  "PUBLISHES_PER_SECOND_MAX",
];

/** Reads all settings that limit clients and publishers. */
export function readLimitSettings(reader: EnvReader): LimitSettings {
  reader.refuseEmpty(OPTIONAL_LIMITS);
  const count = (name: string): number => reader.integer(name, 0, 0, COUNT_MAX);
  return {
    publishesPerSecondMax: count("PUBLISHES_PER_SECOND_MAX"),
    trustedProxies: readProxies(reader),
    clientsMax: count("CLIENTS_MAX"),
    clientsPerAddressMax: count("CLIENTS_PER_ADDRESS_MAX"),
    connectsPerSecondMax: count("CONNECTS_PER_SECOND_MAX"),
    eventsPerSecondMax: reader.integer("EVENTS_PER_SECOND_MAX", 50, 1, 100_000),
  };
}

/** Returns a sentence for each valid setting of a limit that probably does not do what the operator wants. */
export function limitWarnings(
  { host, roomsPerClientMax, ...limits }: LimitSettings & {
    readonly host: string;
    readonly roomsPerClientMax: number;
  },
): readonly string[] {
  const { clientsPerAddressMax, eventsPerSecondMax, trustedProxies } = limits;
  const warnings: string[] = [];
  const atOnce = eventsPerSecondMax * EVENTS_BURST_SECONDS;
  if (roomsPerClientMax > atOnce) {
    warnings.push(
      `EVENTS_PER_SECOND_MAX lets a client send ${atOnce} events at once, so a client that joins ROOMS_PER_CLIENT_MAX rooms at once would be refused some of them; set EVENTS_PER_SECOND_MAX to ${
        Math.ceil(roomsPerClientMax / EVENTS_BURST_SECONDS)
      }, or let clients name their rooms in auth.rooms`,
    );
  }
  if (
    clientsPerAddressMax > 0 && trustedProxies.length === 0 && isLoopback(host)
  ) {
    warnings.push(
      "CLIENTS_PER_ADDRESS_MAX is set, and HOST can only be reached through a proxy, so all clients have the address of the proxy; set TRUSTED_PROXIES to this address",
    );
  }
  const all = trustedProxies.find((range) => range.endsWith("/0"));
  if (all !== undefined) {
    warnings.push(
      `TRUSTED_PROXIES has ${all}, so every client can choose its own address with X-Forwarded-For; list the addresses of your proxies`,
    );
  }
  return warnings;
}

/**
 * Reads `TRUSTED_PROXIES`. Records a problem for each item that is not an address or a range, and if the setting has no
 * items, because an operator would then take the addresses of proxies for those of clients.
 */
function readProxies(reader: EnvReader): string[] {
  const name = "TRUSTED_PROXIES";
  const proxies = reader.list(name);
  for (const proxy of proxies) {
    if (isAddressRange(proxy)) continue;
    reader.fail(
      name,
      `has ${
        JSON.stringify(proxy)
      }, which is not an address or a range such as 10.0.0.0/8 or fd00::/8`,
    );
  }
  if (reader.isSet(name) && proxies.length === 0) {
    reader.fail(name, "is a list without addresses; unset it or set addresses");
  }
  return proxies;
}
