/**
 * Explains in words why messages are missing.
 *
 * @module
 */

/** The sentence for a gap with an unknown reason. */
const SENTENCES = {
  trimmed:
    "Messages are missing here: you were away longer than this room's history",
  epoch:
    "Messages may be missing here: the server's log was emptied or restored from an older copy",
  expired:
    "Messages may be missing here: you were away longer than the server keeps a session",
  overloaded:
    "Messages are missing here: you missed too many at once, or your connection was too slow",
  ingress:
    "Messages may be missing here: for a while, no server was receiving from Redis channels",
  position:
    "Messages may be missing here: the server does not know the position at which you left",
};
const SENTENCE = "Messages may be missing here";

/**
 * Returns the sentence for the reason of a gap. There is also a sentence for unknown reasons.
 *
 * @param {string} reason
 * @returns {string}
 */
export function gapSentence(reason) {
  return Object.hasOwn(SENTENCES, reason) ? SENTENCES[reason] : SENTENCE;
}
