// deploy/gatehouse.service, as far as it can be checked where systemd does not run: systemd
// understands it, finds little to complain about, and its numbers fit the program's.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, test } from "node:test";
import { scratchDirectory } from "../lib/processes.mjs";
import { run } from "./docker.mjs";

const path = (name) => new URL(`../../${name}`, import.meta.url).pathname;
const unit = readFileSync(path("deploy/gatehouse.service"), "utf8");
const program = process.env.GATEHOUSE_BIN;

const value = (key) => {
  const [, text] = unit.match(new RegExp(`^${key}=(.*)$`, "m")) ?? assert.fail(`it has ${key}`);
  return text;
};

// Defaults of settings, as the program itself tells them: in ms, and numbers.
const UNITS = { ms: 1, s: 1000, m: 60_000 };
function settings(...flags) {
  const { GATEHOUSE_BIN: _, ...env } = process.env;
  for (const key of Object.keys(env)) if (key.startsWith("GATEHOUSE_")) delete env[key];
  const out = execFileSync(program, [...flags, "--check-config"], { encoding: "utf8", env });
  return (key) => {
    const [, text] = out.match(new RegExp(`^ +${key} +(\\S+)`, "m")) ?? assert.fail(`${key} is told`);
    const [, number, mark] = text.match(/^(\d+)(ms|s|m)?$/);
    return Number(number) * (UNITS[mark] ?? 1);
  };
}

describe("gatehouse.service", () => {
  // With a program that is there.
  const copy = join(scratchDirectory(), "gatehouse.service");
  const command = value("ExecStart");
  assert.match(command, /^\/usr\/local\/bin\/gatehouse /);
  writeFileSync(copy, unit.replace(command, command.replace("/usr/local/bin/gatehouse", program)));

  test("systemd understands it", async () => {
    const said = await run("sh", ["-c", 'systemd-analyze verify "$0" 2>&1', copy]);
    assert.equal(said, "");
  });

  test("systemd finds it well protected", () =>
    run("systemd-analyze", ["security", "--offline=true", "--threshold=20", copy]));

  test("it has the time and the files that the defaults ask for", () => {
    const least = join(scratchDirectory(), "least.yaml");
    writeFileSync(least, "listen: 127.0.0.1:3000\nnamespaces: [{name: /, auth: none}]\n");
    const of = settings("--config", least);
    const stop = Number(value("TimeoutStopSec").replace("s", "")) * 1000;
    assert.ok(stop > of("drainDelay") + of("drainTime"), "time to drain");
    const files = Number(value("LimitNOFILE"));
    assert.ok(files > of("maxConns") + of("maxHandshakes") + 256, "files");
  });
});

describe("docker-compose.yml", () => {
  test("gives nodes the time that their configuration asks for", () => {
    const of = settings("--config", path("deploy/compose/gatehouse.yaml"));
    const compose = readFileSync(path("docker-compose.yml"), "utf8");
    const [, grace] = compose.match(/x-node:[^]*?stop_grace_period: (\d+)s/);
    assert.ok(Number(grace) * 1000 > of("drainDelay") + of("drainTime"));
  });
});
