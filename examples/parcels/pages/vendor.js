/* A vendor posts pickups to the queue, and hears of them through its mailbox: also of what
 * happened while no page of it was open. */
import { $, BOARD, PICKUPS, STEPS, VENDORS, el, enter, load, mailbox, nameOf, parcelOf, save, say, time } from "./common.js";

const KEEP = 50; // parcels, and updates, that the page remembers
const ID_LETTERS = "23456789ABCDEFGHJKLMNPQRSTUVWXYZ"; // 32; none that looks like another

const opened = Date.now();
let away = 0; // updates of the time before this page was opened

const me = enter("vendor", {
	away: "Drivers go on meanwhile, and what happens to your parcels waits for you.",
	onConnect,
});

/* {parcel, at, sent: is it in the queue?, fault, steps: [{step, driver, at, no}]}, newest
 * first; `no` counts the updates as they came. Windows of one vendor share the list. */
let parcels = me ? load(me.user, []) : [];

if (me) {
	$("post").addEventListener("submit", post);
	$("forget").addEventListener("click", () => {
		parcels = [];
		away = 0;
		keep();
	});
	me.socket.on("queue:message", onNews);
	me.socket.on("roll-call", standing);
	// Another window of the same vendor: the mailbox gives each update to one of them.
	window.addEventListener("storage", () => {
		parcels = load(me.user, []);
		draw();
	});
	draw();
	me.socket.connect();
}

async function onConnect() {
	for (const p of parcels.filter((p) => !p.sent && !p.fault))
		push(p);
	try {
		await me.ask("room:join", VENDORS);
		await me.ask("queue:consume", mailbox(me.user));
		standing();
	} catch (error) {
		$("fault").textContent = `Your mailbox can't be opened: ${error.message}.`;
	}
}

/* --- posting ------------------------------------------------------------------------- */

function post(e) {
	e.preventDefault();
	const what = $("what").value.trim();
	const to = $("to").value.trim();
	$("fault").textContent = what && to ? "" : `Say ${what ? "where it goes" : "what it is"}, please.`;
	if (!what || !to) {
		$(what ? "to" : "what").focus();
		return;
	}
	const letters = crypto.getRandomValues(new Uint8Array(8));
	const id = Array.from(letters, (n) => ID_LETTERS[n % 32]).join("");
	const p = { parcel: { id, what, to, vendor: me.user }, at: Date.now(), sent: false, fault: "", steps: [] };
	parcels = [p, ...load(me.user, parcels)].slice(0, KEEP);
	keep();
	$("post").reset();
	$("what").focus();
	push(p);
}

/* The parcel's number is the key of the push: however often it is tried, it is in the queue
 * once. So what got no answer is simply pushed again when the connection is back. */
async function push(p) {
	if (!me.socket.connected)
		return;
	try {
		await me.ask("queue:push", PICKUPS, p.parcel, { key: p.parcel.id });
	} catch (error) {
		if (error.code !== "unanswered")
			change(p.parcel.id, (now) => (now.fault = error.message));
		return;
	}
	change(p.parcel.id, (now) => (now.sent = true));
	me.socket.emit("room:emit", BOARD, "parcel", { parcel: p.parcel, step: "waiting" });
}

/* --- the mailbox --------------------------------------------------------------------- */

/* The ack is what removes it from the mailbox, so it comes last. */
function onNews({ payload }, ack) {
	const parcel = parcelOf(payload?.parcel);
	const driver = nameOf(payload?.driver, "driver");
	if (!parcel || parcel.vendor !== me.user || driver === null || STEPS.indexOf(payload.step) < 2) {
		ack({ error: "this is no news of a parcel" });
		return;
	}
	const at = Number.isFinite(payload.at) ? payload.at : Date.now();
	parcels = load(me.user, parcels);
	if (!parcels.some((p) => p.parcel.id === parcel.id)) { // posted in another browser
		parcels = [{ parcel, at, sent: true, fault: "", steps: [] }, ...parcels].slice(0, KEEP);
		keep();
	}
	change(parcel.id, (p) => {
		p.sent = true;
		// A second driver may say again what the first one said.
		if (p.steps.some((s) => s.step === payload.step))
			return;
		p.steps.push({ step: payload.step, driver, at, away: at < opened, no: (news()[0]?.no ?? 0) + 1 });
		away += at < opened;
	});
	ack({ ok: true });
}

/* The hub asks, or should know that we are back: where our parcels are, as far as we know. */
function standing() {
	const known = parcels.filter((p) => p.sent).slice(0, 20).map((p) => {
		const last = p.steps.at(-1);
		return { parcel: p.parcel, step: last?.step ?? "waiting", at: last?.at ?? p.at, driver: last && `driver.${last.driver}` };
	});
	me.socket.emit("room:emit", BOARD, "standing", { parcels: known });
}

/* --- drawing ------------------------------------------------------------------------- */

/* What changes is looked up by its number: another window may have changed the list. */
function change(id, how) {
	parcels = load(me.user, parcels);
	const p = parcels.find((p) => p.parcel.id === id);
	if (p)
		how(p);
	keep();
}

function keep() {
	save(me.user, parcels);
	draw();
}

/* All updates, newest first: as the mailbox gave them, for clocks of drivers may differ. */
function news() {
	return parcels.flatMap((p) => p.steps.map((s) => ({ ...s, parcel: p.parcel }))).sort((a, b) => b.no - a.no);
}

function draw() {
	$("none").hidden = parcels.length > 0;
	$("forget").hidden = parcels.length === 0;
	$("parcels").replaceChildren(...parcels.map(card));
	$("no-news").hidden = news().length > 0;
	$("news").replaceChildren(...news().slice(0, KEEP).map((n) => {
		const item = el("li", "", time(n.at), el("span", "", el("b", "", n.parcel.what), n.step === "delivered" ? ` was delivered by ${n.driver}` : ` is in transit with ${n.driver}`));
		item.dataset.step = n.step;
		if (n.away)
			item.append(el("span", "tag", "while you were away"));
		return item;
	}));
	say($("away"), away ? `${away === 1 ? "One update" : `${away} updates`} came while this page was closed.` : "");
}

function card(p) {
	const reached = p.steps.reduce((most, s) => Math.max(most, STEPS.indexOf(s.step)), 0);
	const item = el("li", "card parcel",
		el("div", "head", el("b", "", p.parcel.what), el("span", "number", p.parcel.id)),
		el("p", "quiet", `to ${p.parcel.to}`));
	item.dataset.id = p.parcel.id;
	item.dataset.step = p.sent ? STEPS[reached] : p.fault ? "refused" : "sending";
	if (p.fault) {
		const again = el("button", "plain", "Try again");
		const drop = el("button", "plain", "Remove");
		again.addEventListener("click", () => {
			change(p.parcel.id, (now) => (now.fault = ""));
			push(p);
		});
		drop.addEventListener("click", () => {
			parcels = load(me.user, parcels).filter((other) => other.parcel.id !== p.parcel.id);
			keep();
		});
		item.append(el("p", "fault", `Not posted: ${p.fault}. `, again, " ", drop));
		return item;
	}
	if (!p.sent) {
		item.append(el("p", "quiet", me.socket.connected ? "Posting…" : "Is posted when the connection is back."));
		return item;
	}
	const track = el("ol", "track");
	for (const step of ["waiting", "in transit", "delivered"]) {
		const s = p.steps.find((s) => s.step === step);
		const line = el("li", "", step === "waiting" ? (reached ? "posted" : "waiting for a driver") : step);
		if (s || step === "waiting")
			line.append(el("small", "", s ? `${s.driver}, ` : "", time(s ? s.at : p.at)));
		line.classList.toggle("reached", STEPS.indexOf(step) <= reached);
		line.classList.toggle("now", STEPS.indexOf(step) === reached);
		track.append(line);
	}
	item.append(track);
	return item;
}
