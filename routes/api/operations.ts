/**
 * All operations of the HTTP API, by path and method. A route exists if and only if it is listed here.
 *
 * @module
 */
import * as directives from "./directives.ts";
import { events, roomEvents } from "./events.ts";
import * as files from "./files.ts";
import * as health from "./health.ts";
import * as history from "./history.ts";
import type { Methods } from "./operation.ts";
import * as publishing from "./publish.ts";
import { revoke } from "./revoke.ts";
import * as rooms from "./rooms.ts";

/** All operations. A part of a path that stands in braces is a parameter. */
export const OPERATIONS = {
  "/publish": { POST: publishing.publish },
  "/publish/batch": { POST: publishing.publishBatch },
  "/rooms/{room}/history": {
    GET: history.readHistory,
    DELETE: history.clearHistory,
  },
  "/rooms/{room}/events": { GET: roomEvents },
  "/events": { GET: events },
  "/rooms": { GET: rooms.listRooms },
  "/rooms/{room}": { GET: rooms.showRoom },
  "/rooms/{room}/join": { POST: directives.joinRoom },
  "/rooms/{room}/leave": { POST: directives.leaveRoom },
  "/disconnect": { POST: directives.disconnect },
  "/nodes": { GET: rooms.listNodes },
  "/revoke": { POST: revoke },
  "/livez": { GET: health.livez },
  "/readyz": { GET: health.readyz },
  "/metrics": { GET: health.metrics },
  "/": { GET: files.page },
  "/roomcast.js": { GET: files.clientModule },
  "/roomcast_publish.js": { GET: files.clientModulePublish },
  "/roomcast_state.js": { GET: files.clientModuleState },
  "/roomcast.d.ts": { GET: files.clientModuleTypes },
  "/static/{name}": { GET: files.pageFile },
  "/socket.io/{name}": { GET: files.clientBundle },
  "/page.json": { GET: files.pageSettings },
  "/openapi.json": { GET: files.openapi },
  "/asyncapi.json": { GET: files.asyncApi },
  "/docs": { GET: files.docs },
  "/docs/{name}": { GET: files.docsFile },
} as const satisfies Readonly<Record<string, Methods>>;

/** Something for each operation, for example its handler. */
export type ForEachOperation<T> = {
  readonly [P in keyof typeof OPERATIONS]: {
    readonly [M in keyof (typeof OPERATIONS)[P]]: T;
  };
};
