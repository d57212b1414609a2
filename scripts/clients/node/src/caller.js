// The key of a caller: one rule in every language, held by ../../vectors.json.

import { createHash } from "node:crypto";
import { isIPv4, isIPv6 } from "node:net";

const hops = 32; // Entries of X-Forwarded-For that are looked at, from the right.
const longestHeader = 4096;

// Returns the address that `text` is, without port, brackets, zone and IPv4 mapping, or null: an array
// of 4 bytes or of 8 groups.
export function parseAddress(text) {
  text = text.replace(/^[ \t]+|[ \t]+$/g, "");
  if (text.startsWith("[")) {
    const match = /^\[([^\]]*:[^\]]*)\](?::[0-9]{1,5})?$/.exec(text);
    if (!match) return null;
    text = match[1];
  } else if (text.split(":").length === 2) {
    const match = /^([^:]*):[0-9]{1,5}$/.exec(text);
    if (!match) return null;
    text = match[1];
  }
  if (isIPv4(text)) return text.split(".").map(Number);
  text = text.replace(/%.*$/s, "");
  if (!isIPv6(text)) return null;
  const groups = expand(text);
  const mapped = groups.slice(0, 5).every((group) => group === 0) && groups[5] === 0xffff;
  return mapped ? [groups[6] >> 8, groups[6] & 255, groups[7] >> 8, groups[7] & 255] : groups;
}

function expand(text) {
  const [left, right] = text.split("::").map((half) => {
    return half.split(":").filter(Boolean).flatMap((group) => {
      if (!group.includes(".")) return [parseInt(group, 16)];
      const [a, b, c, d] = group.split(".").map(Number);
      return [a * 256 + b, c * 256 + d];
    });
  });
  if (right === undefined) return left;
  return [...left, ...new Array(8 - left.length - right.length).fill(0), ...right];
}

// Returns the first `prefix` bits of an address.
function cut(address, prefix) {
  const size = address.length === 4 ? 8 : 16;
  return address.map((part, index) => {
    const bits = Math.min(size, Math.max(0, prefix - index * size));
    return part & (((1 << bits) - 1) << (size - bits));
  });
}

// Returns the text of an address in a key: IPv4 as it is, IPv6 as its network, after RFC 5952.
export function canonical(address, ipv6Prefix = 64) {
  if (address.length === 4) return address.join(".");
  const groups = cut(address, ipv6Prefix);
  let [start, length] = [-1, 1];
  for (let i = 0; i < 8; i++) {
    let end = i;
    while (end < 8 && groups[end] === 0) end++;
    if (end - i > length) [start, length] = [i, end - i];
  }
  const hex = groups.map((group) => group.toString(16));
  const text =
    start < 0
      ? hex.join(":")
      : `${hex.slice(0, start).join(":")}::${hex.slice(start + length).join(":")}`;
  return `${text}/${ipv6Prefix}`;
}

function parseNetwork(text) {
  const [host, bits] = text.split("/");
  const address = parseAddress(host);
  const most = address?.length === 4 ? 32 : 128;
  const prefix = bits === undefined ? most : Number(bits);
  if (!address || !Number.isInteger(prefix) || prefix < 0 || prefix > most) {
    throw new RangeError(`"${text}" is not a network; write 10.0.0.0/8, 2001:db8::/32 or unix`);
  }
  return { address: cut(address, prefix), prefix };
}

export class Caller {
  #header;
  #networks;
  #unix;
  #ipv6Prefix;
  prefix;

  constructor({ header, trusted = [], ipv6Prefix = 64, prefix = "limit:" } = {}) {
    if (!Number.isInteger(ipv6Prefix) || ipv6Prefix < 1 || ipv6Prefix > 128) {
      throw new RangeError(`ipv6Prefix must be from 1 to 128, not ${ipv6Prefix}`);
    }
    this.#header = header?.toLowerCase();
    this.#networks = trusted.filter((text) => text !== "unix").map(parseNetwork);
    this.#unix = trusted.includes("unix");
    this.#ipv6Prefix = ipv6Prefix;
    this.prefix = prefix;
  }

  // Returns the key for a request of node:http.
  keyOf(request) {
    const lines = request.headersDistinct;
    return this.key(
      request.socket.remoteAddress,
      lines["x-forwarded-for"],
      this.#header && lines[this.#header],
    );
  }

  // Returns the key for the address of a connection (none for a Unix socket), the lines of
  // X-Forwarded-For and the lines of the header.
  key(peer, forwarded = [], header = []) {
    if (header.length === 1) {
      const value = header[0].replace(/^[ \t]+|[ \t]+$/g, "");
      if (value && !value.includes(",") && value.length <= longestHeader) {
        const hash = createHash("sha256").update(value, "latin1").digest("hex");
        return `${this.prefix}key:${hash.slice(0, 32)}`;
      }
    }
    const address = this.#address(peer, forwarded);
    return `${this.prefix}ip:${address ? canonical(address, this.#ipv6Prefix) : "unknown"}`;
  }

  // Returns the first address, from the connection on, that is no trusted proxy. An entry that is no
  // address is not believed, so the proxy that sent it is charged.
  #address(peer, forwarded) {
    let current = peer ? parseAddress(peer) : null;
    const entries = forwarded.flatMap((line) => line.split(",")).slice(-hops);
    while (entries.length > 0 && this.#trusts(current, peer)) {
      const before = parseAddress(entries.pop());
      if (!before) break;
      current = before;
    }
    return current;
  }

  #trusts(address, peer) {
    if (!address) return !peer && this.#unix;
    return this.#networks.some(
      (network) =>
        network.address.length === address.length &&
        cut(address, network.prefix).every((part, index) => part === network.address[index]),
    );
  }
}
