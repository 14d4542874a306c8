/**
 * The credentials that the reader has entered: a token, with which the page connects and reads histories, and a publish
 * key, with which it publishes. The page asks for them if the server needs them.
 *
 * @module
 */
import { find } from "./dom.js";
import { SecretForm } from "./secret_form.js";
import { formatTime } from "./time.js";

/** Manages the forms for the token and the key, and shows in the panel whether they are in use. */
export class AccessForms {
  #server;
  #on;
  #key;
  #token;
  /** A key that may be the whole of `name:secret`, which the reader was asked to check. */
  #doubtful;
  /** Whether the server has said on the current connection that the token expires soon. */
  #isExpiring = false;

  /**
   * Starts to handle the forms and the buttons of the panel.
   *
   * @param {import("./server.js").Server} server
   * @param {object} on
   * @param {() => void} on.keyChanged the reader has entered another key
   * @param {() => Promise<void>} on.tokenRefreshed the reader has entered a token in place of one that expires; rejects
   * if the server does not accept it
   * @param {() => void} on.tokenChanged the reader has entered another token, or wants to use none
   */
  constructor(server, on) {
    this.#server = server;
    this.#on = on;
    this.#key = new SecretForm("key", (key) => this.#useKey(key));
    this.#token = new SecretForm("token", (token) => this.#useToken(token));
    find("key-forget").addEventListener("click", () => {
      server.key = "";
    });
    find("token-change").addEventListener("click", () => {
      if (this.#token.isShown) this.#token.isShown = false;
      else this.#token.ask();
    });
    find("token-forget").addEventListener("click", () => {
      server.token = "";
      on.tokenChanged();
    });
    server.addEventListener("change", () => this.#update());
  }

  /** Asks for a publish key, because the server needs a key or does not accept the one that is set. */
  askForKey() {
    const isWrong = this.#server.key !== "";
    this.#server.key = "";
    this.#key.ask(
      isWrong
        ? "The server does not accept this key. Enter another one."
        : undefined,
      isWrong,
    );
  }

  /** Asks for a token, because the server has refused to let the page connect, for the reason `why`. */
  askForToken(why) {
    this.#token.ask(why, this.#server.token !== "");
  }

  /** Asks for what the page needs to read histories, because the server has refused that for the reason `why`. */
  askForReading(why) {
    const usesKey = this.#server.servesBackends && this.#server.key !== "";
    if (usesKey || !this.#server.acceptsTokens) this.askForKey();
    else this.askForToken(why);
  }

  /** Asks for a new token, because the one in use expires at `expiresAt`, in ms since 1970. */
  askForNewToken(expiresAt) {
    this.#isExpiring = true;
    this.#token.ask(
      `The token expires at ${
        formatTime(new Date(expiresAt))
      }. Enter a new one of the same user to stay connected.`,
    );
  }

  /** Hides the form for the token, because the page has connected. */
  connected() {
    this.#isExpiring = false;
    this.#token.isShown = false;
  }

  /** Records that the page is not connected, so that it has to connect with a new token instead of sending it. */
  disconnected() {
    this.#isExpiring = false;
  }

  #useKey(key) {
    if (key.includes(":") && key !== this.#doubtful) {
      this.#doubtful = key;
      throw new TypeError(
        "This looks like name:secret. Enter only the secret: the part after the colon. If the secret itself has a colon, use it again.",
      );
    }
    this.#server.key = key;
    this.#on.keyChanged();
  }

  async #useToken(token) {
    const { token: last } = this.#server;
    this.#server.token = token;
    if (!this.#isExpiring) return this.#on.tokenChanged();
    try {
      await this.#on.tokenRefreshed();
    } catch (error) {
      this.#server.token = last;
      throw error;
    }
    this.connected();
  }

  #update() {
    const { key, token, lacksKey, acceptsTokens, clientsMayPublish } =
      this.#server;
    this.#key.isShown = lacksKey;
    find("key-use").hidden = key === "";
    find("token-use").hidden = !acceptsTokens;
    if (acceptsTokens || clientsMayPublish) {
      find("key-label").textContent = acceptsTokens
        ? "Key, to publish as a backend"
        : "Key, to publish as a backend and to read histories";
    }
    find("token-state").textContent = token === ""
      ? "No token is in use."
      : "A token is in use. Only this page knows it.";
    find("token-forget").hidden = token === "";
  }
}
