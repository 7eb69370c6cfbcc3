import { describe, expect, test } from "vitest";
import type { TeamRole, TeamMember } from "../src/types.js";
import { isLastOwner, removable, rolesToInvite, rolesToSet } from "../src/views/team/roles.js";

const member = (user_id: string, role: TeamRole) => ({ user_id, role }) as TeamMember;
const ada = member("ada", "owner");
const ben = member("ben", "admin");
const cleo = member("cleo", "member");
const dan = member("dan", "owner");
const one = [ada, ben, cleo];
const two = [ada, dan, ben, cleo];

describe("roles", () => {
  test("only owners invite owners", () => {
    expect(rolesToInvite("owner")).toEqual(["owner", "admin", "member"]);
    expect(rolesToInvite("admin")).toEqual(["admin", "member"]);
  });

  test("owners give any role, admins none to owners, and members none", () => {
    expect(rolesToSet("owner", cleo, one)).toEqual(["owner", "admin"]);
    expect(rolesToSet("owner", dan, two)).toEqual(["admin", "member"]);
    expect(rolesToSet("admin", cleo, one)).toEqual(["admin"]);
    expect(rolesToSet("admin", ben, one)).toEqual(["member"]);
    expect(rolesToSet("admin", ada, two)).toEqual([]);
    expect(rolesToSet("member", cleo, one)).toEqual([]);
  });

  test("the last owner keeps their role and stays", () => {
    expect(isLastOwner(ada, one)).toBe(true);
    expect(rolesToSet("owner", ada, one)).toEqual([]);
    expect(removable("owner", "ada", ada, one)).toBe(false);
    expect(removable("owner", "ada", ada, two)).toBe(true);
  });

  test("everybody else can leave", () => {
    expect(removable("admin", "ben", ben, one)).toBe(true);
    expect(removable("member", "cleo", cleo, one)).toBe(true);
  });

  test("owners remove anyone, admins no owner, and members nobody", () => {
    expect(removable("owner", "ada", dan, two)).toBe(true);
    expect(removable("owner", "ada", cleo, one)).toBe(true);
    expect(removable("admin", "ben", dan, two)).toBe(false);
    expect(removable("admin", "ben", cleo, two)).toBe(true);
    expect(removable("member", "cleo", ben, two)).toBe(false);
  });
});
