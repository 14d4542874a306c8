/** Measures the CPU time of the thread on which a test runs, which does not depend on other load of the machine. */

/** Returns the CPU time that the calling thread has used, in ms, in steps of 10 ms. */
export function threadCpuMs(): number {
  // A synchronous read, because an asynchronous one runs on another thread.
  const stat = Deno.readTextFileSync("/proc/thread-self/stat");
  return 1000 * cpuSecondsOf(stat);
}

/** Returns the CPU time in a file `stat` of a process or a thread, in seconds. */
export function cpuSecondsOf(stat: string): number {
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  // Fields 14 and 15 of proc(5), in ticks of 10 ms.
  return (Number(fields[11]) + Number(fields[12])) / 100;
}
