/**
 * The bytes that a minimal client sends to connect by WebSocket and to stay connected.
 *
 * @module
 */

/** The HTTP request that opens the WebSocket. */
export const REQUEST: Uint8Array = new TextEncoder().encode(
  "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\n" +
    "Host: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
    "Sec-WebSocket-Version: 13\r\n" +
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
);

/** Socket.IO's CONNECT packet, `40`, in a text frame with a mask of zeros. */
export const CONNECT: Uint8Array = Uint8Array.of(
  0x81,
  0x82,
  0,
  0,
  0,
  0,
  0x34,
  0x30,
);

/** Engine.IO's pong packet, `3`, in a text frame with a mask of zeros. */
export const PONG: Uint8Array = Uint8Array.of(0x81, 0x81, 0, 0, 0, 0, 0x33);
