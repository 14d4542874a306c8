/** Runs the garbage collector on demand, so that tests can check which objects are still referenced. */
import v8 from "node:v8";
import vm from "node:vm";

v8.setFlagsFromString("--expose-gc");
const collect = vm.runInNewContext("gc") as () => void;

/** Collects all objects to which no references are left. */
export async function collectGarbage(): Promise<void> {
  // A WeakRef keeps its target until the current job has ended.
  await new Promise((resolve) => setTimeout(resolve));
  collect();
}
