import assert from "node:assert/strict";
import { EnvReader } from "../../../lib/config/env_reader.ts";

Deno.test("EnvReader returns the default for unset and blank values", () => {
  for (const env of [{}, { A: undefined }, { A: "" }, { A: " \t\n" }]) {
    const reader = new EnvReader(env);
    assert.equal(reader.text("A"), "");
    assert.equal(reader.text("A", "x"), "x");
    assert.equal(reader.integer("A", 3, 1, 5), 3);
    assert.deepEqual(reader.list("A", "x,y"), ["x", "y"]);
    assert.equal(reader.choice("A", "b", ["a", "b"]), "b");
    assert.equal(reader.flag("A", true), true);
    assert.deepEqual(reader.problems, []);
  }
});

Deno.test("EnvReader returns trimmed values and lists without empty or repeated items", () => {
  const reader = new EnvReader({ A: " 5 ", L: " a, b,,a , ", F: " true" });
  assert.equal(reader.text("A"), "5");
  assert.equal(reader.integer("A", 3, 1, 5), 5);
  assert.deepEqual(reader.list("L"), ["a", "b"]);
  assert.equal(reader.flag("F", false), true);
  assert.deepEqual(reader.problems, []);
});

Deno.test("EnvReader returns the default for an invalid value and reports every problem in order", () => {
  const reader = new EnvReader({ A: "6", B: "c", C: "yes" });
  assert.equal(reader.integer("A", 3, 1, 5), 3);
  assert.equal(reader.choice("B", "b", ["a", "b"]), "b");
  assert.equal(reader.flag("C", false), false);
  reader.fail("D", "is not set");
  assert.deepEqual(reader.problems, [
    'A is "6", not a whole number from 1 to 5',
    'B is "c", not one of a, b',
    'C is "yes", not one of true, false',
    "D is not set",
  ]);
});

Deno.test("EnvReader.settings lists the settings that were read, and EnvReader.names the variables that are set", () => {
  const reader = new EnvReader({ A: " 1 ", B: "", X: "y", Y: " " });
  reader.integer("A", 3, 1, 5);
  reader.text("B", "b");
  reader.text("A");
  assert.deepEqual(reader.settings, [
    { name: "A", value: "1", source: "environment" },
    { name: "B", value: "b", source: "default" },
  ]);
  assert.deepEqual(reader.names, ["A", "X"]);
  assert.deepEqual(["A", "B", "Y"].map((name) => reader.isSet(name)), [
    true,
    false,
    false,
  ]);
});

Deno.test("EnvReader reports a variable or a command that only a shell replaces, and no other problem of the setting", () => {
  for (const value of ["${A_1}", "a:${KEY:-x}", "$(openssl rand -hex 16)"]) {
    const reader = new EnvReader({ A: value });
    reader.integer("A", 3, 1, 5);
    assert.deepEqual(reader.problems, [
      "A has ${…} or $(…) in it, which only a shell replaces; write the value itself",
    ]);
  }
  // A random secret may begin like a variable or a command.
  const value = "$5 ${sub} {a} $A $( ${A1 $(b";
  const reader = new EnvReader({ A: value, B: "a$b" });
  assert.equal(reader.text("A"), value);
  assert.deepEqual(reader.problems, []);
});
