/* The hub hears in the room `board` what vendors and drivers do, and sees in the room `crew`
 * which drivers are there. A room tells who is there and nobody else, so the page keeps what
 * it has heard, and when it may have missed something it asks those who are there. */
import { $, BOARD, CREW, STEPS, VENDORS, el, enter, load, nameOf, parcelOf, save, say, time } from "./common.js";

const KEEP = 200; // parcels, and lines of what happened
const SHOWN = 12; // of those that are delivered
const MEMBERS = 1000; // as many as one answer to room:members may have

const me = enter("hub", {
	away: "What you see here may be out of date.",
	onConnect,
	onAway() {
		awaySince ??= Date.now();
	},
}, "desk");

let awaySince = null;
let meanwhile = null; // members announced while the list of them is being read
const kept = me ? load(me.user, { parcels: [], feed: [], forgotten: 0 }) : null;
const parcels = new Map(); // number → {parcel, step, driver, at}
const drivers = new Map(); // name → {sockets: Set of ids, onDuty}

if (me) {
	for (const p of kept.parcels)
		parcels.set(p.parcel.id, p);
	me.socket.on("parcel", onParcel);
	me.socket.on("standing", onStanding);
	me.socket.on("room:joined", (member) => onMember(member, true));
	me.socket.on("room:left", (member) => onMember(member, false));
	$("forget").addEventListener("click", forget);
	$("seen").addEventListener("click", () => tellMissed(""));
	draw();
	me.socket.connect();
}

async function onConnect({ missed }) {
	if (missed)
		tellMissed(`You were away from ${clock(awaySince)} to ${clock(Date.now())}. Events of that time may be missing below; where the parcels are now was asked of everybody who is there.`);
	awaySince = null;
	try {
		await me.ask("room:join", BOARD);
		await me.ask("room:join", CREW);
		await readCrew();
		await rollCall();
	} catch (error) {
		tellMissed(`The board can't be read: ${error.message}.`);
	}
	draw();
}

/* Everybody who is there answers with `standing`. */
async function rollCall() {
	for (const room of [CREW, VENDORS])
		await me.ask("room:emit", room, "roll-call");
}

function tellMissed(text) {
	$("missed-text").textContent = text;
	$("missed").hidden = !text;
}

function clock(at) {
	return time(at).textContent;
}

/* --- what is told -------------------------------------------------------------------- */

/* The stamp says who told it; the server wrote it. Vendors speak of their own parcels, and
 * drivers of what they do. */
function onParcel(told, stamp) {
	const parcel = parcelOf(told?.parcel);
	const driver = nameOf(stamp?.user, "driver");
	const { step } = told ?? {};
	if (!parcel || !(driver === null ? step === "waiting" && stamp?.user === parcel.vendor : ["taken", "in transit", "delivered", "handed back"].includes(step)))
		return;
	const vendor = nameOf(parcel.vendor, "vendor");
	const line = { at: stamp.at, id: parcel.id, what: parcel.what, step, text: {
		waiting: ` was posted by ${vendor}`,
		taken: ` was taken by ${driver}`,
		"in transit": ` is in transit with ${driver}`,
		delivered: ` was delivered by ${driver}`,
		"handed back": ` was handed back by ${driver}`,
	}[step] };
	const before = parcels.get(parcel.id);
	// A driver may be quicker than the vendor's word that there is something to take.
	const earliest = step === "waiting" ? kept.feed.findLastIndex(({ id }) => id === parcel.id) : -1;
	kept.feed.splice(earliest + 1, 0, line);
	kept.feed.length = Math.min(kept.feed.length, KEEP);
	if (step !== "waiting" || !before)
		put(parcel, step === "handed back" ? "waiting" : step, driver, stamp.at);
	keep();
}

/* An answer to the roll-call: it fills in what was not heard, and takes nothing back. */
function onStanding(told, stamp) {
	const driver = nameOf(stamp?.user, "driver");
	if (driver !== null)
		crewMember(driver).onDuty = told?.onDuty === true;
	for (const known of Array.isArray(told?.parcels) ? told.parcels : []) {
		const parcel = parcelOf(known?.parcel);
		const rank = STEPS.indexOf(known?.step);
		const by = driver ?? nameOf(known?.driver, "driver");
		if (!parcel || rank < 0 || (driver === null && stamp?.user !== parcel.vendor))
			continue;
		if (known.at < kept.forgotten && known.step === "delivered")
			continue;
		const before = parcels.get(parcel.id);
		if (!before || STEPS.indexOf(before.step) < rank || (driver !== null && before.driver !== driver && before.step !== "delivered"))
			put(parcel, known.step, by, stamp.at);
	}
	keep();
}

function put(parcel, step, driver, at) {
	parcels.delete(parcel.id); // to the end of the map, which is the order of the page
	parcels.set(parcel.id, { parcel, step, driver: step === "waiting" ? null : driver, at });
	while (parcels.size > KEEP)
		parcels.delete(parcels.keys().next().value);
}

function keep() {
	kept.parcels = [...parcels.values()];
	save(me.user, kept);
	draw();
}

/* Begin anew, with what those who are there know and have not delivered. */
function forget() {
	parcels.clear();
	kept.feed = [];
	kept.forgotten = Date.now();
	tellMissed("");
	keep();
	rollCall().catch((error) => tellMissed(`Nobody could be asked: ${error.message}.`));
}

/* --- who is there -------------------------------------------------------------------- */

function crewMember(name) {
	if (!drivers.has(name))
		drivers.set(name, { sockets: new Set(), onDuty: false });
	return drivers.get(name);
}

async function readCrew() {
	meanwhile = [];
	const { members } = await me.ask("room:members", CREW, { limit: MEMBERS });
	for (const driver of drivers.values())
		driver.sockets.clear();
	for (const member of members)
		move(member, true);
	for (const [member, isIn] of meanwhile)
		move(member, isIn);
	meanwhile = null;
}

function move({ id, user }, isIn) {
	const name = nameOf(user, "driver");
	if (name === null)
		return;
	const { sockets } = crewMember(name);
	if (isIn)
		sockets.add(id);
	else
		sockets.delete(id);
}

function onMember(member, isIn) {
	if (member.room !== CREW)
		return;
	meanwhile?.push([member, isIn]);
	move(member, isIn);
	draw();
}

function isThere(name) {
	return (drivers.get(name)?.sockets.size ?? 0) > 0;
}

/* --- drawing ------------------------------------------------------------------------- */

function draw() {
	const all = [...parcels.values()].reverse();
	for (const column of document.querySelectorAll(".board > [data-step]")) {
		const here = all.filter((p) => p.step === column.dataset.step);
		column.querySelector(".count").textContent = here.length;
		column.querySelector(".empty").hidden = here.length > 0;
		column.querySelector("ul").replaceChildren(...here.slice(0, column.dataset.step === "delivered" ? SHOWN : KEEP).map(card));
	}
	const delivered = all.filter((p) => p.step === "delivered").length;
	say($("older"), delivered > SHOWN ? `and ${delivered - SHOWN} before` : "");

	const shown = [...drivers].filter(([name]) => isThere(name) || holding(name).length);
	shown.sort(([a], [b]) => a.localeCompare(b));
	$("drivers-count").textContent = shown.filter(([name]) => isThere(name)).length;
	$("no-drivers").hidden = shown.length > 0;
	$("drivers").replaceChildren(...shown.map(([name, driver]) => {
		const has = holding(name);
		const state = !isThere(name) ? "gone" : has.length ? "busy" : driver.onDuty ? "free" : "off";
		const item = el("li", "", el("i", "lamp"), el("b", "", name), el("span", "quiet", {
			gone: `is gone, with “${has[0]?.parcel.what}”`,
			busy: `has “${has[0]?.parcel.what}”`,
			free: "is free",
			off: "is off duty",
		}[state]));
		item.dataset.state = state;
		return item;
	}));

	$("no-feed").hidden = kept.feed.length > 0;
	$("feed").replaceChildren(...kept.feed.map(({ at, what, step, text }) => {
		const item = el("li", "", time(at), el("span", "", el("b", "", what), text));
		item.dataset.step = step;
		return item;
	}));
}

function holding(name) {
	return [...parcels.values()].filter((p) => p.driver === name && (p.step === "taken" || p.step === "in transit"));
}

function card({ parcel, step, driver, at }) {
	const item = el("li", "card parcel",
		el("div", "head", el("b", "", parcel.what), el("span", "number", parcel.id)),
		el("p", "quiet", `${nameOf(parcel.vendor, "vendor")} → ${parcel.to}`));
	item.dataset.id = parcel.id;
	item.dataset.step = step;
	if (driver)
		item.append(el("p", "by", driver, " ", time(at)));
	else
		item.append(el("p", "by quiet", "since ", time(at)));
	if ((step === "taken" || step === "in transit") && !isThere(driver) && me.socket.connected)
		item.append(el("p", "fault", `${driver} is gone; the next driver gets it.`));
	return item;
}
