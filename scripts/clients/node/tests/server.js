// A real server for the tests, and a wire to it that loses replies.

import { spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer, connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createRequire } from "node:module";

export const root = new URL("../../../../", import.meta.url).pathname;
const clients = createRequire(join(root, "target/clients/node/package.json"));
// The libraries are not this package's own: it takes the user's connection.
export const { createClient, createCluster } = clients("redis");
export const Redis = clients("ioredis");
export const express = clients("express");
export const fastify = clients("fastify");
export const library = clients;

const listens = (port) =>
  new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1", () => resolve(true));
    socket.on("error", () => resolve(false));
    socket.on("close", () => {});
    socket.on("connect", () => socket.destroy());
  });

// A port on which nobody listens. Below the range for outgoing connections, so that a server that was
// killed finds it again; a cluster node also listens 10 000 above.
let next = process.pid * 397;
async function freePort() {
  for (;;) {
    const port = 10_000 + (next++ % 10_000);
    if (!(await listens(port))) return port;
  }
}

export async function until(what, condition) {
  const deadline = performance.now() + 120_000;
  for (;;) {
    const found = await condition();
    if (found) return found;
    if (performance.now() > deadline) throw new Error(`timed out waiting: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}

// Returns a day, as a window's words, that neither begins nor ends within ten hours of now.
export function midDay() {
  const hours = 12 - new Date().getUTCHours();
  return `DAY OFFSET ${hours < 0 ? "-" : "+"}${String(Math.abs(hours)).padStart(2, "0")}:00`;
}

// Detects pauses of more than a third of a slot's ttl: the slot may have ended meanwhile.
export class Stalls {
  #most;
  #last = performance.now();
  #longest = 0;

  constructor(ttlMs) {
    this.#most = ttlMs / 3;
  }

  happened() {
    const now = performance.now();
    this.#longest = Math.max(this.#longest, now - this.#last);
    this.#last = now;
    return this.#longest > this.#most;
  }
}

export class Server {
  #arguments;
  #process;
  #folder = mkdtempSync(join(tmpdir(), "redis-rl-"));

  static async start({ module = true, cluster = false } = {}) {
    const library = process.env.REDIS_RL_MODULE ?? "target/release/libredis_rl.so";
    for (;;) {
      const server = new Server();
      server.port = await freePort();
      server.#arguments = ["--port", server.port, "--bind", "127.0.0.1", "--save", ""];
      if (cluster) server.#arguments.push("--cluster-enabled", "yes", "--cluster-announce-ip", "127.0.0.1");
      if (module) server.#arguments.push("--loadmodule", join(root, library));
      try {
        await server.start();
        return server;
      } catch (error) {
        // Another process may take the port before the server does.
        if (!(await listens(server.port))) throw error;
      }
    }
  }

  // One node with every slot.
  static async startCluster(options) {
    const node = await Server.start({ ...options, cluster: true });
    await node.ask("CLUSTER", "ADDSLOTS", ...Array(16384).keys());
    await until("the cluster is up", async () => (await node.ask("CLUSTER", "INFO")).includes("state:ok"));
    return node;
  }

  async start() {
    let binary = process.env.REDIS_RL_SERVER ?? "redis-server";
    if (binary.includes("/")) binary = join(root, binary);
    this.#process = spawn(binary, this.#arguments.map(String), { cwd: this.#folder, stdio: "ignore" });
    await until("the server listens", () => {
      if (this.#process.exitCode !== null) throw new Error("the server does not start");
      return this.#answers();
    });
  }

  // Returns whether this process answers on the port.
  async #answers() {
    const listens_ = await listens(this.port);
    const about = listens_ && (await this.ask("INFO", "server").catch(() => ""));
    return about && about.includes(`process_id:${this.#process.pid}\r`);
  }

  hang() {
    this.#process.kill("SIGSTOP");
  }

  goOn() {
    this.#process.kill("SIGCONT");
  }

  async kill() {
    const ended = new Promise((resolve) => this.#process.on("exit", resolve));
    this.#process.kill("SIGKILL");
    await ended;
  }

  async stop() {
    await this.kill();
    rmSync(this.#folder, { recursive: true });
  }

  // Sends one command over a connection of its own.
  async ask(...words) {
    const client = createClient({ url: `redis://127.0.0.1:${this.port}` });
    await client.connect();
    try {
      return await client.sendCommand(words.map(String));
    } finally {
      client.destroy();
    }
  }
}

// A proxy to a server. Of the replies, it loses the next `lose`: it closes the connection instead of
// passing one back. It passes each of the others back after `delayMs`.
export async function wireTo(port) {
  const wire = { lose: 0, delayMs: 0, open: new Set() };
  const listener = createServer((near) => {
    const far = connect(port, "127.0.0.1");
    wire.open.add(near);
    near.on("data", (data) => far.write(data));
    far.on("data", (data) => {
      if (wire.lose === 0) {
        if (wire.delayMs > 0) setTimeout(() => near.write(data), wire.delayMs);
        else near.write(data);
        return;
      }
      wire.lose--;
      near.destroy();
    });
    const end = () => {
      wire.open.delete(near);
      near.destroy();
      far.destroy();
    };
    for (const socket of [near, far]) socket.on("error", end).on("close", end);
  });
  await new Promise((resolve) => listener.listen(0, "127.0.0.1", resolve));
  wire.port = listener.address().port;
  wire.stop = () => {
    listener.close();
    for (const socket of wire.open) socket.destroy();
  };
  return wire;
}

// Connections of each library, by their names.
export const libraries = {
  async "node-redis"(port, options = {}) {
    const client = createClient({ socket: { host: "127.0.0.1", port, reconnectStrategy: 20 }, ...options });
    client.on("error", () => {});
    await client.connect();
    return { client, close: () => client.destroy() };
  },
  async ioredis(port, options = {}) {
    const client = new Redis({ host: "127.0.0.1", port, retryStrategy: () => 20, ...options });
    client.on("error", () => {});
    await until("it is connected", () => client.status === "ready");
    return { client, close: () => client.disconnect() };
  },
};

export const clusters = {
  async "node-redis"(port, options = {}) {
    const client = createCluster({ rootNodes: [{ socket: { host: "127.0.0.1", port } }], ...options });
    client.on("error", () => {});
    await client.connect();
    return { client, close: () => client.destroy() };
  },
  async ioredis(port, options = {}) {
    const client = new Redis.Cluster([{ host: "127.0.0.1", port }], options);
    client.on("error", () => {});
    await until("it is connected", () => client.status === "ready");
    return { client, close: () => client.disconnect() };
  },
};

// A log that is kept instead of printed.
export function quiet() {
  const lines = [];
  const keep = (level) => (text) => lines.push(`${level}: ${text}`);
  return { lines, warn: keep("warn"), error: keep("error") };
}
