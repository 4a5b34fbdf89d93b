// gh-load, run and judged.
import { Process } from "../lib/processes.mjs";
import { within } from "../lib/wait.mjs";

// Ten thousand clients unless told otherwise; `watch` is called while they run.
export async function runLoad(node, seconds, options = {}) {
  const args = { server: node.address, seconds, ...options };
  const load = new Process(
    "gh-load",
    process.env.GATEHOUSE_LOAD_BIN,
    Object.entries(args).flatMap(([key, value]) => [`--${key}`, String(value)]),
  );
  const { code } = await within("gh-load ends", load.ended, (seconds + 10) * 1000);
  console.log(load.output.trim());
  if (code !== 0) throw load.failure(`gh-load ended with code ${code}`);
}
