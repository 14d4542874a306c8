/**
 * Limits how many clients may be connected, in all and from one address, and how many may connect per second.
 *
 * All limits are those of this node: nodes do not tell each other their numbers.
 *
 * @module
 */
import { ApiError } from "../errors.ts";
import {
  type AddressedRequest,
  addressGroup,
  type ClientAddress,
} from "./addresses.ts";
import { RateLimit, type Usage } from "./rate_limit.ts";

/** Seconds after which a client that was refused because of a number of connections should try again. */
const RETRY_SECONDS = 5;

/** Options of {@linkcode ConnectionLimits}. For each maximum, 0 means that there is no limit. */
export interface ConnectionLimitsOptions {
  readonly clientsMax: number;
  readonly clientsPerAddressMax: number;
  readonly connectsPerSecondMax: number;
  readonly clientAddress: ClientAddress;
}

/** A counted connection, to be passed to {@linkcode ConnectionLimits.leave}. */
export interface Entry {
  /** The group of addresses for which the connection counts; undefined if connections are not counted by address. */
  readonly group: string | undefined;
}

/** The entry of every connection if connections are not counted by address, which needs no memory for each of them. */
const WITHOUT_ADDRESS: Entry = Object.freeze({ group: undefined });

/** Counts the connections of clients, and refuses new ones beyond the limits. */
export class ConnectionLimits {
  readonly #options: ConnectionLimitsOptions;
  readonly #connects: RateLimit | undefined;
  readonly #usage: Usage = { usedUntil: 0 };
  readonly #perGroup = new Map<string, number>();
  #count = 0;

  /** Starts without connections. */
  constructor(options: ConnectionLimitsOptions) {
    this.#options = options;
    const { connectsPerSecondMax: perSecond } = options;
    this.#connects = perSecond === 0
      ? undefined
      : new RateLimit(perSecond, perSecond);
  }

  /** Number of connections. */
  get count(): number {
    return this.#count;
  }

  /** Number of groups of addresses from which there are connections; 0 if connections are not counted by address. */
  get groups(): number {
    return this.#perGroup.size;
  }

  /**
   * Counts a new connection. Pass the returned entry to {@linkcode ConnectionLimits.leave} exactly once.
   *
   * @throws {ApiError} `too_many_clients`, `too_many_connections`, `too_many_connects`; the connection is not counted
   */
  enter(request: AddressedRequest): Entry {
    const { clientsMax, clientsPerAddressMax } = this.#options;
    if (clientsMax > 0 && this.#count >= clientsMax) {
      throw tooManyClients(clientsMax);
    }
    const entry = this.#entryFor(request);
    const { group } = entry;
    const connected = group === undefined ? 0 : this.#perGroup.get(group) ?? 0;
    if (group !== undefined && connected >= clientsPerAddressMax) {
      throw tooManyConnections(clientsPerAddressMax);
    }
    // This limit comes last, so that a refused connection does not use up a part of it.
    const waitMs = this.#connects?.spend(this.#usage) ?? 0;
    if (waitMs > 0) throw tooManyConnects(waitMs);
    this.#count++;
    if (group !== undefined) this.#perGroup.set(group, connected + 1);
    return entry;
  }

  /** Counts a connection no longer. */
  leave({ group }: Entry): void {
    this.#count--;
    if (group === undefined) return;
    const connected = (this.#perGroup.get(group) ?? 1) - 1;
    if (connected === 0) this.#perGroup.delete(group);
    else this.#perGroup.set(group, connected);
  }

  #entryFor(request: AddressedRequest): Entry {
    const { clientsPerAddressMax, clientAddress } = this.#options;
    // The address is found also if it is not counted, because it cannot be found any more when the connection is closed.
    const address = clientAddress(request);
    return clientsPerAddressMax === 0
      ? WITHOUT_ADDRESS
      : { group: addressGroup(address) };
  }
}

function tooManyClients(clientsMax: number): ApiError {
  return new ApiError(
    "too_many_clients",
    `Cannot connect: this node has ${clientsMax} clients, the limit of CLIENTS_MAX; connect again later`,
    RETRY_SECONDS,
  );
}

function tooManyConnections(perAddressMax: number): ApiError {
  return new ApiError(
    "too_many_connections",
    `Cannot connect: your address has ${perAddressMax} connections to this node, the limit of CLIENTS_PER_ADDRESS_MAX; close some, or connect again later`,
    RETRY_SECONDS,
  );
}

function tooManyConnects(waitMs: number): ApiError {
  return new ApiError(
    "too_many_connects",
    "Cannot connect: more clients are connecting than CONNECTS_PER_SECOND_MAX allows; connect again later",
    Math.max(Math.ceil(waitMs / 1000), 1),
  );
}
