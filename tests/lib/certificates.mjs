// Certificates for tests, made with openssl, and the authority that signs them.
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { X509Certificate } from "node:crypto";
import { scratchDirectory } from "./processes.mjs";
import { until } from "./wait.mjs";

function openssl(...args) {
  return execFileSync("openssl", args, { stdio: ["ignore", "pipe", "pipe"] }).toString();
}

const KEYS = {
  rsa: ["-newkey", "rsa:2048"],
  ec: ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"],
};

export class Authority {
  #made = 0;

  constructor() {
    this.directory = scratchDirectory();
    this.certFile = this.#file("ca.pem");
    this.keyFile = this.#file("ca.key");
    openssl(
      ...["req", "-x509", "-nodes", "-days", "2", "-subj", "/CN=Test Authority"],
      ...KEYS.ec,
      ...["-addext", "basicConstraints=critical,CA:TRUE"],
      ...["-keyout", this.keyFile, "-out", this.certFile],
    );
    this.ca = readFileSync(this.certFile, "utf8");
  }

  #file(name) {
    return join(this.directory, name);
  }

  // A certificate for these hosts, {cert, key, chain, fingerprint}: paths, PEM of the
  // certificate and the authority behind it, and what a client sees of it.
  issue(hosts, { kind = "ec", days = 2 } = {}) {
    const n = ++this.#made;
    const [request, cert, key] = ["csr", "pem", "key"].map((end) =>
      this.#file(`${n}.${end}`),
    );
    const names = hosts.map((host) => `${/^[\d.:]+$/.test(host) ? "IP" : "DNS"}:${host}`);
    openssl(
      ...["req", "-new", "-nodes", "-subj", `/CN=${hosts[0]}`, ...KEYS[kind]],
      ...["-addext", `subjectAltName=${names.join(",")}`],
      ...["-keyout", key, "-out", request],
    );
    openssl(
      ...["x509", "-req", "-in", request, "-copy_extensions", "copyall"],
      ...["-CA", this.certFile, "-CAkey", this.keyFile, "-CAcreateserial"],
      ...["-days", String(days), "-out", cert],
    );
    const pem = readFileSync(cert, "utf8");
    return {
      cert,
      key,
      chain: pem + this.ca,
      fingerprint: new X509Certificate(pem).fingerprint256,
    };
  }

  // One that has expired: valid for no time, and that is over.
  async expired(hosts) {
    const one = this.issue(hosts, { days: 0 });
    const end = Date.parse(new X509Certificate(readFileSync(one.cert)).validTo);
    await until("the certificate has expired", () => Date.now() > end + 1000);
    return one;
  }
}
