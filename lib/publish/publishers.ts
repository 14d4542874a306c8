/**
 * Creates the parts of a node that publish.
 *
 * @module
 */
import {
  ClientPublisher,
  type ClientPublisherOptions,
} from "./client_publisher.ts";
import { Publisher, type PublisherOptions } from "./publisher.ts";

/** The parts of a node that publish. */
export interface Publishers {
  readonly publisher: Publisher;
  /** Publishes for connected clients. */
  readonly clientPublisher: ClientPublisher;
}

/** Creates the parts of a node that publish. */
export function createPublishers(
  options: PublisherOptions & Omit<ClientPublisherOptions, "publisher">,
): Publishers {
  const publisher = new Publisher(options);
  const clientPublisher = new ClientPublisher({ ...options, publisher });
  return { publisher, clientPublisher };
}
