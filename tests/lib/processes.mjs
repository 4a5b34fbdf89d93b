// Processes a test starts: their output is kept, they never outlive the test, and nodes
// and Redis servers of tests that run at the same time do not meet.
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { within } from "./wait.mjs";

// A loopback address of this test process alone (a process id has 22 bits): ports on it
// need no search, and no other test can take one between the look and the listen.
export const HOST = `127.${64 + ((process.pid >> 16) & 63)}.${(process.pid >> 8) & 255}.${process.pid & 255}`;
let portsUsed = 0;
export function freePort() {
  return 20_000 + portsUsed++;
}

const children = new Set();
const directories = new Set();

process.on("exit", () => {
  for (const child of children) child.kill("SIGKILL");
  for (const directory of directories) rmSync(directory, { recursive: true, force: true });
});
for (const signal of ["SIGINT", "SIGTERM"]) process.on(signal, () => process.exit(1));

// A directory for sockets and configuration files, gone when the test is.
export function scratchDirectory() {
  const directory = mkdtempSync(join(tmpdir(), "gatehouse-test-"));
  directories.add(directory);
  return directory;
}

// A gateway takes every GATEHOUSE_… for a setting, and these are for the tests.
function environment(extra) {
  const rest = Object.entries(process.env).filter(([key]) => !key.startsWith("GATEHOUSE_"));
  return { ...Object.fromEntries(rest), ...extra };
}

const OUTPUT_MAX = 4 << 20;

export class Process {
  // `name` stands in error messages.
  constructor(name, command, args, env = {}) {
    this.name = name;
    this.output = "";
    this.exit = null; // {code, signal} once it ended
    this.child = spawn(command, args, {
      stdio: ["ignore", "pipe", "pipe"],
      env: environment(env),
    });
    children.add(this.child);
    // A process that is left running does not keep the test from ending, which ends it.
    for (const handle of [this.child, this.child.stdout, this.child.stderr]) handle.unref();
    const keep = (chunk) => {
      this.output = (this.output + chunk).slice(-OUTPUT_MAX);
    };
    this.child.stdout.on("data", keep);
    this.child.stderr.on("data", keep);
    this.ended = new Promise((resolve) => {
      const end = (exit) => {
        if (this.exit) return;
        this.exit = exit;
        children.delete(this.child);
        resolve(exit);
      };
      this.child.on("error", (error) => {
        this.output += `${error.message}\n`;
        end({ code: -1, signal: null });
      });
      this.child.on("close", (code, signal) => end({ code, signal }));
    });
  }

  get pid() {
    return this.child.pid;
  }

  signal(signal) {
    this.child.kill(signal);
  }

  // End it by a signal, wait, and give {code, signal}.
  async stop(signal = "SIGTERM", deadlineMs) {
    this.signal(signal);
    try {
      return await within(`${this.name} ends after ${signal}`, this.ended, deadlineMs);
    } catch (error) {
      this.signal("SIGKILL");
      await this.ended;
      throw this.failure(error.message);
    }
  }

  // An error with the last of what the process wrote.
  failure(message) {
    const tail = this.output.slice(-8000);
    return new Error(`${message}\n--- ${this.name} wrote:\n${tail}--- end of ${this.name}`);
  }
}
