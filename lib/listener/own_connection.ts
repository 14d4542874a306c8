/**
 * Connects this process to its own server.
 *
 * @module
 */
import { type AddressInfo, connect, type Socket } from "node:net";

/**
 * The addresses that stand for all interfaces of a machine, each with the address at which the machine reaches itself.
 */
const LOOPBACK: Readonly<Record<string, string>> = {
  "0.0.0.0": "127.0.0.1",
  "::": "::1",
};

/**
 * Starts to connect to the address on which a server of this process listens. The caller has to handle the socket's
 * errors and to destroy the socket.
 */
export function connectToSelf({ address, port }: AddressInfo): Socket {
  return connect({ host: LOOPBACK[address] ?? address, port });
}
