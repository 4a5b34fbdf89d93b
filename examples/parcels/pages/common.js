/* What the three pages share: who one is, the connection and how it is shown, parcels.
 *
 * All they use of Gatehouse is the official client, served by a node, and the built-in
 * events room:* and queue:*. What may be done by whom is in ../gatehouse.yaml. */
import { io } from "/socket.io/socket.io.esm.min.js";

const ACK_MS = 15000; // above the 10 s for which a node may wait for Redis to return
const NODE_CODE = 6; // characters of a socket's id that name the node it came in at

/* Queues and rooms. */
export const PICKUPS = "pickups"; // from vendors, each to one driver
export const mailbox = (user) => `mailbox:${user}`; // to one user, kept until it was seen
export const BOARD = "board"; // the hub hears here what happens
export const CREW = "crew"; // drivers who are there, and the hub
export const VENDORS = "vendors"; // where the hub asks vendors what they know

/* A parcel is somewhere on this way. */
export const STEPS = ["waiting", "taken", "in transit", "delivered"];

export const $ = (id) => document.getElementById(id);

/* Text from others goes on the page as text, never as markup. */
export function el(tag, className = "", ...children) {
	const e = document.createElement(tag);
	e.className = className;
	e.append(...children);
	return e;
}

const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });
export function time(at) {
	const t = el("time", "", clock.format(at));
	t.dateTime = new Date(at).toISOString();
	return t;
}

/* "driver.Ben" → "Ben", or null for who is something else. */
export function nameOf(user, role) {
	return typeof user === "string" && user.startsWith(`${role}.`) ? user.slice(role.length + 1) : null;
}

/* What others sent, if it is a parcel; else null. Kept to what a parcel is. */
export function parcelOf(p) {
	const text = (s, max) => typeof s === "string" && s !== "" && s.length <= max;
	if (!p || !text(p.id, 20) || !text(p.what, 2000) || !text(p.to, 2000) || nameOf(p.vendor, "vendor") === null)
		return null;
	return { id: p.id, what: p.what, to: p.to, vendor: p.vendor };
}

/* Kept by the browser, so that a page that is closed knows the same when it is opened. */
export function load(key, otherwise) {
	try {
		return JSON.parse(localStorage.getItem(`parcels.${key}`)) ?? otherwise;
	} catch {
		return otherwise;
	}
}

export function save(key, value) {
	try {
		localStorage.setItem(`parcels.${key}`, JSON.stringify(value));
	} catch {
		/* full or forbidden: the page works, until it is closed */
	}
}

/* Refused by the server: `code` and a message for people. */
export class Refused extends Error {
	constructor({ code, message }) {
		super(message);
		this.code = code;
	}
}

/* The user's name: from ?name=, or `otherwise`, or the page asks for it and this gives null. */
function whoAmI(otherwise) {
	const name = (new URLSearchParams(location.search).get("name") ?? otherwise ?? "").trim();
	if (/^[\p{L}\p{N} _-]{1,40}$/u.test(name))
		return name;
	$("welcome").hidden = false;
	$("name").value = name;
	$("name-fault").textContent = name ? `“${name}” will not do: up to 40 letters, digits, blanks, - and _, please.` : "";
	$("name").focus();
	return null;
}

/* Connect as `role`. `page` is what the page does:
 *   away        what to say while the connection is lost
 *   onConnect({again, missed})   connected; missed: events of rooms may have been
 *   onAway()    the connection was lost
 * Gives null if nobody knows who this is, else {user, name, socket, ask}. */
export function enter(role, page, otherwise) {
	const name = whoAmI(otherwise);
	if (name === null)
		return null;
	const user = `${role}.${name}`;
	$("who").textContent = name;
	document.title = `${name} · Parcels`;
	$("main").hidden = false;

	// For the laptop: the server believes the name. With real tokens this is
	// auth: async (give) => give({ token: await fetchToken() }), asked at each reconnect.
	// WebSocket first, and polling where that does not work: when a tab is closed, a
	// WebSocket ends at once, and a poll is missed only after the next ping (45 s).
	const socket = io({
		auth: (give) => give({ user }),
		transports: ["websocket", "polling"],
		tryAllTransports: true,
		autoConnect: false,
	});
	let everConnected = false;

	socket.on("connect", () => {
		show("connected", `Connected at node ${socket.id.slice(0, NODE_CODE)}`);
		$("state").dataset.recovered = socket.recovered;
		// Where the session was recovered, what was missed in its rooms follows.
		page.onConnect({ again: everConnected, missed: everConnected && !socket.recovered });
		everConnected = true;
	});
	socket.on("disconnect", (reason) => {
		page.onAway?.();
		if (socket.active)
			show("away", "Reconnecting…", `The connection is lost; trying again. ${page.away}`);
		else
			show("off", "Offline", reason === "io server disconnect" ? "The server ended the connection." : "Not connected.");
	});
	socket.on("connect_error", (error) => {
		if (socket.active)
			show("away", "Reconnecting…", `There is no connection; trying again. ${everConnected ? page.away : ""}`);
		else
			show("off", "Not let in", `The server does not let you in: ${error.message}.`);
	});
	$("again").addEventListener("click", () => {
		show("connecting", "Connecting…");
		socket.connect();
	});

	/* Emit a built-in event and give its ack, or throw what is wrong. */
	async function ask(event, ...args) {
		let ack;
		try {
			ack = await socket.timeout(ACK_MS).emitWithAck(event, ...args);
		} catch {
			throw new Refused({ code: "unanswered", message: socket.connected ? "the server did not answer in time" : "the connection was lost" });
		}
		if (!ack?.ok)
			throw new Refused(ack?.error ?? { code: "unknown", message: "the server did not say why" });
		return ack;
	}

	return { user, name, socket, ask };
}

function show(state, text, banner = "") {
	$("state").dataset.state = state;
	$("state-text").textContent = text;
	$("banner").hidden = !banner;
	$("banner").dataset.state = state;
	$("banner-text").textContent = banner;
	$("again").hidden = state !== "off";
}

/* Show `text` in the element, or hide it. */
export function say(e, text) {
	e.textContent = text;
	e.hidden = !text;
}
