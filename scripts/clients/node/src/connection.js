// Sends a command once, by node-redis or ioredis, one server or a cluster.

import { once as event } from "node:events";
import { Outage } from "./failure.js";

// Returns a function that sends the words of a command, routed by `key`, and one that closes
// what was opened for it. `givenUpMs` is the time after which nobody waits for the reply.
export function connection(client, givenUpMs) {
  if (typeof client.call === "function") return ofIoredis(client);
  if (typeof client.sendCommand !== "function") {
    throw new TypeError("the client must be one of node-redis or ioredis");
  }
  const another = async () => {
    const own = client.duplicate();
    own.on("error", () => {}); // The call reports it.
    await own.connect();
    return { send: ofNodeRedis(own, givenUpMs), close: () => own.destroy() };
  };
  // It is not applied to commands that node-redis does not know.
  return { send: ofNodeRedis(client, givenUpMs), another, prefix: String(client._keyPrefix ?? ""), close() {} };
}

function ofNodeRedis(client, givenUpMs) {
  // Applies until the command is written: what was not sent by then is not sent at all.
  const options = { timeout: givenUpMs };
  if ("slots" in client || "masters" in client) {
    return (key, words) => client.sendCommand(key, false, words, options);
  }
  return async (_, words) => {
    // The client would queue the call until it is connected.
    if (!client.isReady) throw new Outage("the connection is not ready");
    return client.sendCommand(words, options);
  };
}

// By default ioredis queues calls while it is not connected, and sends a call again whose reply was
// lost, which would charge twice. So it gets a connection with other settings, unless it has them.
function ofIoredis(client) {
  const cluster = client.isCluster === true;
  const isSafe = cluster ? safeCluster(client.options) : safe(client.options);
  const own = isSafe ? client : cluster ? duplicateCluster(client) : client.duplicate(once);
  if (own !== client) own.on("error", () => {}); // The calls report it.
  return {
    send: callsOf(own, cluster),
    async another() {
      const duplicate = cluster ? duplicateCluster(client) : client.duplicate(once);
      duplicate.on("error", () => {}); // The call reports it.
      if (duplicate.status !== "ready") await event(duplicate, "ready");
      return { send: callsOf(duplicate, cluster), close: () => duplicate.disconnect() };
    },
    // It is not applied to commands that ioredis does not know.
    prefix: client.options.keyPrefix ?? client.options.redisOptions?.keyPrefix ?? "",
    close() {
      if (own !== client) own.disconnect();
    },
  };
}

const once = {
  maxRetriesPerRequest: 0,
  autoResendUnfulfilledCommands: false,
  enableOfflineQueue: false,
  lazyConnect: false,
};

function safe({ maxRetriesPerRequest, enableOfflineQueue }) {
  return maxRetriesPerRequest === 0 && enableOfflineQueue === false;
}

function safeCluster({ retryDelayOnFailover, enableOfflineQueue, redisOptions = {} }) {
  return retryDelayOnFailover === 0 && enableOfflineQueue === false && safe({ ...redisOptions, enableOfflineQueue });
}

function duplicateCluster(client) {
  return client.duplicate([], {
    retryDelayOnFailover: 0,
    retryDelayOnClusterDown: 0,
    enableOfflineQueue: false,
    lazyConnect: false,
    redisOptions: { ...client.options.redisOptions, ...once, enableOfflineQueue: true },
  });
}

// Returns a function that calls as `client.call` does, but without keyPrefix, which is only applied to
// commands that ioredis knows, and without automatic pipelines, which choose a wrong node. In a cluster
// the command is sent by the slot of its key, because ioredis does not know where the key is.
function callsOf(client, isCluster) {
  let slot;
  const bare = Object.create(client, {
    options: { value: { ...client.options, keyPrefix: "", enableAutoPipelining: false } },
    sendCommand: { value: (command) => client.sendCommand(Object.assign(command, slot)) },
  });
  return async (key, words) => {
    if (client.status === "wait") client.connect().catch(() => {});
    if (isCluster) slot = { slot: slotOf(key) };
    return bare.call(...words);
  };
}

// Returns the hash slot of a key.
export function slotOf(key) {
  const bytes = Buffer.from(key);
  const open = bytes.indexOf("{");
  const close = open < 0 ? -1 : bytes.indexOf("}", open);
  const hashed = close > open + 1 ? bytes.subarray(open + 1, close) : bytes;
  let crc = 0;
  for (const byte of hashed) {
    crc ^= byte << 8;
    for (let bit = 0; bit < 8; bit++) crc = (crc & 0x8000 ? (crc << 1) ^ 0x1021 : crc << 1) & 0xffff;
  }
  return crc % 16384;
}
