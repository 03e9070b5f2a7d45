// The tasks of a page, and the newer ones that came since it was read.
import { fits } from "../../filters.js";

//: Tasks of a page. When new ones come in, its oldest ones leave.
export const LIMIT = 50;

/** A page of what some filters leave; `cursor` is null on the first one. */
export class TaskPage {
  constructor(filters, cursor) {
    this.filters = filters;
    this.cursor = cursor;
    this.tasks = [];
    this.next = null;
    this.searched = null;
    this.refusal = null;
    this.fresh = new Map();
    this.isRead = false;
    //: What is heard while it is asked for; null at other times.
    this.heard = null;
  }

  /** It is asked for: what is heard from now on may be newer than the answer. */
  ask() {
    this.heard = new Map();
  }

  /** Take what the API says of it, and what was heard meanwhile. */
  take({ tasks, next, searched = null, refusal = null }) {
    Object.assign(this, { tasks, next, searched, refusal, fresh: new Map(), isRead: true });
    const heard = this.heard;
    this.heard = null;
    for (const task of heard.values()) this.change(task);
  }

  /** Take the new state of a task; returns its place, null where it is not on the page. */
  change(task) {
    this.heard?.set(task.task_id, task);
    // Few tasks changed just now: alone they would look like all that there are.
    if (!this.isRead) return null;
    const n = this.tasks.findIndex(({ task_id: id }) => id === task.task_id);
    if (n >= 0) {
      this.tasks[n] = task;
      return n;
    }
    const isNewer = !this.tasks.length || task.task_id > this.tasks[0].task_id;
    if (!this.cursor && isNewer && fits(this.filters, task)) this.fresh.set(task.task_id, task);
    return null;
  }

  /** Put those that came before the others. */
  takeFresh() {
    const fresh = [...this.fresh.values()].sort((a, b) => (a.task_id < b.task_id ? 1 : -1));
    const all = [...fresh, ...this.tasks];
    this.tasks = all.slice(0, LIMIT);
    // A cursor is the id that a page ends with, without its dashes.
    if (all.length > LIMIT) this.next = this.tasks.at(-1).task_id.replaceAll("-", "");
    this.fresh = new Map();
  }
}
