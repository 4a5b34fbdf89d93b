/* The chat page of Gatehouse: the official client, the built-in room events, nothing else.
 *
 * What comes from others is put on the page as text, never as markup. A received event
 * does not name its room, so messages carry the room's name; the sender and the time come
 * from the stamp the server appends, which nobody can forge. */
"use strict";

(() => {
	const ACK_MS = 15000; // above the 10 s for which a node may wait for Redis to return
	const REFRESH_MS = 20000; // members of a killed node leave without a word
	const LOG_MAX = 500; // entries kept of each room
	const MEMBERS_PAGE = 100;
	const MEMBERS_MAX = 500;
	const NODE_CODE = 6; // characters of a socket id that name its node

	const $ = (id) => document.getElementById(id);
	const rooms = new Map(); // name → room, in the order they were joined
	let active = null; // the room on show
	let socket = null;
	let user = "";
	let sent = 0; // messages, to number them
	let interrupted = false; // a connection was lost since the last one was made
	const mine = new Set(); // our socket ids, of now and before

	/* --- small helpers ------------------------------------------------------------ */

	function el(tag, className, text) {
		const e = document.createElement(tag);
		if (className)
			e.className = className;
		if (text !== undefined)
			e.textContent = text;
		return e;
	}

	const storage = {
		get(where, key) {
			try {
				return where.getItem("gatehouse." + key);
			} catch {
				return null; // storage may be forbidden
			}
		},
		set(where, key, value) {
			try {
				where.setItem("gatehouse." + key, value);
			} catch {
				/* as above: the page works without */
			}
		},
	};

	/* A colour for a name: steps of the golden angle keep neighbours apart. */
	function hue(s) {
		let h = 7;
		for (const c of s)
			h = (h * 31 + c.codePointAt(0)) % 9973;
		return Math.round(h * 137.508) % 360;
	}

	const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
	const nodeOf = (id) => String(id).slice(0, NODE_CODE);
	const nameOf = (u) => (typeof u === "string" && u ? u : "Somebody");

	function face(name) {
		const f = el("span", "face", [...name][0].toUpperCase());
		f.setAttribute("aria-hidden", "true");
		f.style.setProperty("--hue", hue(name));
		return f;
	}

	function nodeChip(node) {
		const chip = el("span", "node", node);
		chip.title = "Node " + node;
		chip.style.setProperty("--hue", hue(node));
		return chip;
	}

	/* Emit a built-in event and resolve to its ack; reject with {code, message}. */
	function ask(event, ...args) {
		const started = performance.now();
		return new Promise((resolve, reject) => {
			socket.timeout(ACK_MS).emit(event, ...args, (err, ack) => {
				if (err) {
					reject({ code: "unanswered", message: socket.connected
						? "the server did not answer in time" : "the connection was lost" });
					return;
				}
				$("latency").textContent = `${Math.round(performance.now() - started)} ms`;
				if (ack && ack.ok)
					resolve(ack);
				else
					reject((ack && ack.error) || { code: "unknown", message: "refused" });
			});
		});
	}

	/* --- connection --------------------------------------------------------------- */

	/* ?transports=polling (or websocket, or both, in the order of trying): to see what it is
	 * like. Else the client does as it does by itself. */
	function transportsAsked() {
		const asked = new URLSearchParams(location.search).get("transports") || "";
		return asked.split(",").filter((name) => ["polling", "websocket"].includes(name));
	}

	function showTransport() {
		$("my-transport").textContent = socket.connected
			? { polling: "long-polling", websocket: "WebSocket" }[socket.io.engine.transport.name] : "–";
	}

	function showState(state, text, fault = "") {
		$("state").dataset.state = state;
		$("state-text").textContent = text;
		$("state-fault").textContent = fault;
		$("reconnect").hidden = state !== "offline";
		$("banner").hidden = state === "connected";
		$("banner").dataset.state = state;
		$("banner").textContent = fault ? `${text}: ${fault}` : text;
		if (state !== "connected") {
			$("latency").textContent = "–";
			$("my-transport").textContent = "–";
			$("my-node").replaceChildren("–");
		}
	}

	function connect() {
		const transports = transportsAsked();
		socket = io({ ...(transports.length && { transports }), auth: (give) => give({ user }) });

		socket.on("connect", () => {
			mine.add(socket.id);
			showState("connected", "Connected");
			showTransport();
			socket.io.engine.on("upgrade", showTransport);
			$("my-node").replaceChildren(nodeChip(nodeOf(socket.id)));
			for (const room of rooms.values()) {
				// Without recovery, what was said meanwhile is gone; better to say so.
				if (interrupted && room.everJoined && !socket.recovered)
					note(room, "Connected again. Messages may have been missed meanwhile.", "warn");
				enter(room);
			}
			interrupted = false;
		});
		socket.on("disconnect", (reason) => {
			interrupted = true;
			for (const room of rooms.values())
				room.joined = false;
			if (socket.active)
				showState("reconnecting", "Reconnecting…");
			else
				showState("offline", "Offline", reason === "io server disconnect"
					? "the server ended the connection" : "");
			drawTitle();
			drawMembers();
		});
		socket.on("connect_error", (err) => {
			if (!socket.active)
				showState("offline", "Not let in", err.message);
		});
		socket.io.on("reconnect_attempt", (n) => {
			showState("reconnecting", `Reconnecting… attempt ${n}`);
		});

		socket.on("message", onMessage);
		socket.on("room:joined", (e) => onMember(e, true));
		socket.on("room:left", (e) => onMember(e, false));
		showState("reconnecting", "Connecting…");
	}

	/* --- rooms -------------------------------------------------------------------- */

	function addRoom(name) {
		const room = {
			name,
			joined: false, // on the connection of now
			everJoined: false,
			entering: null, // promise, while a join is under way
			unread: 0,
			members: new Map(), // socket id → {id, user, node}
			count: null, // of the whole cluster
			more: false, // there are members beyond those listed
			changes: null, // heard while the list is being fetched
			pending: new Map(), // key → own message not seen yet
			log: el("ol", "log"),
			last: null, // the newest message, for grouping
			draft: "",
			atEnd: true,
		};
		room.log.setAttribute("role", "log");
		room.log.setAttribute("aria-label", `Messages in ${name}`);
		room.log.tabIndex = 0;
		room.log.addEventListener("scroll", () => onScroll(room), { passive: true });
		rooms.set(name, room);
		remember();
		return room;
	}

	/* Join, or join again after a reconnect. Never rejects: resolves to what went wrong,
	 * or to null. */
	function enter(room) {
		if (!room.entering || room.enteringAs !== socket.id) {
			room.enteringAs = socket.id;
			const entering = doEnter(room, socket.id).finally(() => {
				if (room.entering === entering)
					room.entering = null;
			});
			room.entering = entering;
		}
		return room.entering;
	}

	async function doEnter(room, id) {
		try {
			const ack = await ask("room:join", room.name);
			if (socket.id !== id || rooms.get(room.name) !== room)
				return null; // overtaken by a reconnect or by leaving
			room.joined = true;
			room.count = ack.count ?? null;
			if (!room.everJoined)
				note(room, `You are in ${room.name}.`);
			room.everJoined = true;
		} catch (error) {
			if (room.everJoined && socket.id === id)
				note(room, `Could not come back into the room: ${error.message}.`, "warn");
			return error;
		}
		for (const m of room.pending.values())
			if (m.state === "waiting")
				transmit(room, m);
		drawRooms();
		drawTitle();
		await refreshMembers(room);
		return null;
	}

	async function joinNew(name) {
		const fault = $("join-fault");
		fault.textContent = "";
		if (rooms.has(name)) {
			show(rooms.get(name));
			return;
		}
		const before = active;
		const room = addRoom(name);
		show(room);
		if (!socket.connected)
			return; // joined with the others when the connection is made
		const error = await enter(room);
		if (error && error.code !== "unanswered" && rooms.get(name) === room) {
			drop(room);
			show(rooms.has(before?.name) ? before : null);
			fault.textContent = `${name}: ${error.message}`;
			openDrawer("side");
		}
	}

	async function leave(room) {
		const joined = room.joined;
		drop(room);
		show([...rooms.values()].pop() || null);
		if (!joined)
			return;
		try {
			await ask("room:leave", room.name);
		} catch {
			/* Not in it or no connection: either way we are out. */
		}
	}

	function drop(room) {
		rooms.delete(room.name);
		room.log.remove();
		remember();
		drawRooms();
	}

	function remember() {
		storage.set(sessionStorage, "rooms", JSON.stringify([...rooms.keys()]));
	}

	function show(room) {
		$("join-fault").textContent = "";
		if (active) {
			active.draft = $("say").value;
			active.log.remove();
		}
		active = room;
		closeDrawers();
		if (room) {
			room.unread = 0;
			$("logs").append(room.log);
			room.atEnd = true;
			toEnd(room);
		}
		$("say").value = room ? room.draft : "";
		$("say").disabled = !room;
		fitSay();
		drawRooms();
		drawTitle();
		drawMembers();
		if (room && room.joined)
			refreshMembers(room);
	}

	/* --- members ------------------------------------------------------------------ */

	async function refreshMembers(room) {
		if (room.changes)
			return;
		const id = socket.id;
		const members = new Map();
		let count = null;
		let more = true;
		room.changes = [];
		try {
			let after;
			while (more && members.size < MEMBERS_MAX) {
				const options = { limit: MEMBERS_PAGE };
				if (after !== undefined)
					options.after = after;
				const ack = await ask("room:members", room.name, options);
				for (const m of ack.members)
					members.set(m.id, { id: m.id, user: m.user, node: m.node || nodeOf(m.id) });
				count = ack.count;
				more = Boolean(ack.more) && ack.members.length > 0;
				if (more)
					after = ack.members[ack.members.length - 1].id;
			}
		} catch {
			room.changes = null; // the next refresh or reconnect tries again
			return;
		}
		const changes = room.changes;
		room.changes = null;
		if (socket.id !== id)
			return;
		room.members = members;
		room.count = count;
		room.more = more;
		for (const [e, isIn] of changes)
			applyMember(room, e, isIn);
		drawMembers();
		drawTitle();
	}

	function onMember(e, isIn) {
		const room = e && rooms.get(e.room);
		if (!room || typeof e.id !== "string")
			return;
		if (room.changes)
			room.changes.push([e, isIn]);
		// Who is there with another socket neither comes nor goes: another window, or the
		// socket of a killed node, which is listed until its lease ends.
		const there = [...room.members.values()].some((m) => m.id !== e.id && m.user === e.user);
		if (!mine.has(e.id) && !there)
			note(room, `${nameOf(e.user)} ${isIn ? "came in" : "left"}.`);
		applyMember(room, e, isIn);
		drawMembers();
		drawTitle();
	}

	function applyMember(room, e, isIn) {
		if (room.members.has(e.id) === isIn)
			return;
		if (isIn)
			room.members.set(e.id, { id: e.id, user: e.user, node: nodeOf(e.id) });
		else
			room.members.delete(e.id);
		if (room.count !== null)
			room.count += isIn ? 1 : -1;
	}

	/* --- messages ----------------------------------------------------------------- */

	function say(text) {
		const m = { key: `${Date.now().toString(36)}-${++sent}`, room: active, text, state: "waiting" };
		active.pending.set(m.key, m);
		m.item = messageItem(active, { user, id: null, own: true, at: Date.now(), text });
		append(active, m.item);
		showDelivery(m, "waiting", socket.connected ? "sending…" : "waiting for the connection");
		active.atEnd = true;
		toEnd(active);
		if (active.joined)
			transmit(active, m);
		else if (socket.connected)
			enter(active);
	}

	async function transmit(room, m) {
		m.state = "sent";
		showDelivery(m, "waiting", "sending…");
		try {
			await ask("room:emit", room.name, "message", { room: room.name, text: m.text, key: m.key });
			showDelivery(m, "ok", "sent");
		} catch (error) {
			if (!room.pending.has(m.key))
				return; // it came back from the room after all
			m.state = "failed";
			showDelivery(m, "bad", error.code === "unanswered"
				? `not confirmed: ${error.message}` : `not sent: ${error.message}`);
		}
	}

	/* Our own messages come back too, in the room's one order: they take their place. */
	function onMessage(message, ...rest) {
		/* With recovery an offset comes behind it, a string. */
		const stamp = rest.find((one) => one !== null && typeof one === "object") ?? {};
		const room = message && rooms.get(message.room);
		if (!room || typeof message.text !== "string")
			return;
		const own = mine.has(stamp.from);
		const pending = room.pending.get(message.key);
		if (own && pending) {
			room.pending.delete(message.key);
			pending.item.remove();
			showDelivery(pending, "ok", "sent");
			place(room, pending.item, stamp);
			return;
		}
		const at = new Date(stamp.at ?? Date.now());
		place(room, messageItem(room, {
			user: nameOf(stamp.user), id: stamp.from, own, text: message.text,
			at: Number.isNaN(at.getTime()) ? Date.now() : at.getTime(),
		}), stamp);
		if (!own && (room !== active || document.hidden)) {
			room.unread++;
			drawRooms();
		}
	}

	/* After the room's messages, before our own that are still on their way. */
	function place(room, item, stamp) {
		const again = room.last && room.last.from === stamp.from && Date.now() - room.last.at < 120000;
		item.classList.toggle("again", Boolean(again && stamp.from));
		room.last = { from: stamp.from, at: Date.now() };
		const first = [...room.pending.values()].map((m) => m.item).find((i) => i.isConnected);
		append(room, item, first);
	}

	function messageItem(room, { user: who, id, own, at, text }) {
		const item = el("li", own ? "message own" : "message");
		const head = el("p", own ? "unseen" : "message-head");
		const time = el("time", "", clock.format(at));
		time.dateTime = new Date(at).toISOString();
		head.append(el("b", "", own ? "You" : who));
		const body = el("div", "message-body");
		body.append(head, el("p", "text", text));
		if (own) {
			const foot = el("p", "message-foot");
			foot.append(time, el("span", "delivery"));
			body.append(foot);
			item.append(body);
			return item;
		}
		if (id)
			head.append(nodeChip(nodeOf(id)));
		head.append(time);
		item.append(face(who), body);
		return item;
	}

	function showDelivery(m, kind, text) {
		const line = m.item.querySelector(".delivery");
		line.dataset.kind = kind;
		line.replaceChildren(text);
		if (kind === "bad") {
			const again = el("button", "plain", "Try again");
			again.type = "button";
			again.addEventListener("click", () => {
				m.state = "waiting";
				showDelivery(m, "waiting", "waiting for the connection");
				if (m.room.joined)
					transmit(m.room, m);
				else if (socket.connected)
					enter(m.room);
			});
			line.append(" ", again);
		}
	}

	function note(room, text, kind = "") {
		room.last = null;
		append(room, el("li", `note ${kind}`, text));
	}

	function append(room, item, before = null) {
		room.log.insertBefore(item, before);
		while (room.log.childElementCount > LOG_MAX)
			room.log.firstElementChild.remove();
		if (room.atEnd)
			toEnd(room);
		else if (room === active)
			$("to-end").hidden = false;
	}

	function toEnd(room) {
		room.log.scrollTop = room.log.scrollHeight;
		if (room === active)
			$("to-end").hidden = true;
	}

	function onScroll(room) {
		const log = room.log;
		if (!log.isConnected)
			return;
		room.atEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 40;
		if (room.atEnd && room === active)
			$("to-end").hidden = true;
	}

	/* --- drawing ------------------------------------------------------------------ */

	function drawRooms() {
		let unread = 0;
		let elsewhere = false;
		$("rooms").replaceChildren(...[...rooms.values()].map((room) => {
			const item = el("li");
			const button = el("button", "room");
			button.type = "button";
			button.append(el("span", "room-name", room.name));
			if (room === active)
				button.setAttribute("aria-current", "true");
			if (room.unread) {
				const badge = el("span", "badge", room.unread > 99 ? "99+" : room.unread);
				badge.setAttribute("aria-label", `${room.unread} unread`);
				button.append(badge);
				elsewhere ||= room !== active;
			}
			button.addEventListener("click", () => show(room));
			unread += room.unread;
			item.append(button);
			return item;
		}));
		$("elsewhere").hidden = !elsewhere;
		document.title = (unread ? `(${unread}) ` : "") + (active ? `${active.name} · ` : "") + "Gatehouse";
	}

	function drawTitle() {
		$("leave").hidden = !active;
		$("title").textContent = active ? active.name : "No room";
		let line = "Join a room to talk.";
		if (active && active.joined && active.count !== null) {
			const nodes = new Set([...active.members.values()].map((m) => m.node)).size;
			line = active.count === 1 ? "Only you are here" : `${active.count} are here`;
			if (nodes > 1)
				line += `, on ${nodes} nodes`;
		} else if (active) {
			line = socket && socket.connected ? "Coming in…" : "Not connected";
		}
		$("subtitle").textContent = line;
	}

	let membersDue = false;

	/* At most once a frame: a busy room may change many times in one. */
	function drawMembers() {
		if (membersDue)
			return;
		membersDue = true;
		requestAnimationFrame(() => {
			membersDue = false;
			drawMembersNow();
		});
	}

	function drawMembersNow() {
		const all = active ? [...active.members.values()] : [];
		all.sort((a, b) => (b.id === socket.id) - (a.id === socket.id)
			|| nameOf(a.user).localeCompare(nameOf(b.user)));
		$("members").replaceChildren(...all.map((m) => {
			const item = el("li", "member");
			const who = nameOf(m.user);
			item.append(face(who), el("span", "member-name", who));
			if (m.id === socket.id)
				item.append(el("span", "you", "you"));
			item.append(nodeChip(m.node));
			return item;
		}));
		$("people").classList.toggle("stale", !active || !active.joined);
		$("people-count").textContent = active && active.count !== null ? active.count : "";
		$("people-more").textContent = active && active.more
			? `and ${Math.max(active.count - all.length, 1)} more` : "";
	}

	/* --- what the person does ----------------------------------------------------- */

	function openDrawer(id) {
		$("chat").dataset.drawer = id;
		$("shade").hidden = false;
		$(`show-${id}`).setAttribute("aria-expanded", "true");
	}

	function closeDrawers() {
		delete $("chat").dataset.drawer;
		$("shade").hidden = true;
		for (const id of ["side", "people"])
			$(`show-${id}`).setAttribute("aria-expanded", "false");
	}

	/* The message field grows with its text, up to what the style allows. */
	function fitSay() {
		$("say").style.height = "auto";
		$("say").style.height = `${$("say").scrollHeight + 2}px`;
	}

	function start(name, names) {
		user = name;
		storage.set(localStorage, "name", name);
		storage.set(sessionStorage, "name", name);
		$("my-name").textContent = name;
		$("my-face").textContent = [...name][0].toUpperCase();
		$("my-face").style.setProperty("--hue", hue(name));
		$("welcome").hidden = true;
		$("chat").hidden = false;
		for (const n of names)
			if (!rooms.has(n))
				addRoom(n);
		show(rooms.get(names[names.length - 1]) || active);
		if (socket) {
			socket.disconnect().connect(); // the name goes with the CONNECT
			showState("reconnecting", "Connecting…");
		} else {
			connect();
		}
		$("say").focus();
	}

	function welcome() {
		$("name").value = user || storage.get(localStorage, "name") || "";
		$("first-room").value = active ? active.name : "lobby";
		$("chat").hidden = true;
		$("welcome").hidden = false;
		$("name").focus();
		$("name").select();
	}

	$("welcome-form").addEventListener("submit", (e) => {
		e.preventDefault();
		const name = $("name").value.trim();
		const room = $("first-room").value.trim();
		if (name && room)
			start(name, [room]);
	});
	$("join-form").addEventListener("submit", (e) => {
		e.preventDefault();
		const name = $("join-name").value.trim();
		$("join-name").value = "";
		if (name)
			joinNew(name);
	});
	$("say-form").addEventListener("submit", (e) => {
		e.preventDefault();
		const text = $("say").value.trim();
		if (!text || !active)
			return;
		$("say").value = "";
		fitSay();
		say(text);
		$("say").focus();
	});
	$("say").addEventListener("input", fitSay);
	$("say").addEventListener("keydown", (e) => {
		if (e.key === "Enter" && !e.shiftKey && !e.isComposing) {
			e.preventDefault();
			$("say-form").requestSubmit();
		}
	});
	$("leave").addEventListener("click", () => active && leave(active));
	$("rename").addEventListener("click", welcome);
	$("reconnect").addEventListener("click", () => {
		showState("reconnecting", "Connecting…");
		socket.connect();
	});
	$("to-end").addEventListener("click", () => active && toEnd(active));
	for (const id of ["side", "people"])
		$(`show-${id}`).addEventListener("click", () => openDrawer(id));
	$("shade").addEventListener("click", closeDrawers);
	document.addEventListener("keydown", (e) => e.key === "Escape" && closeDrawers());
	document.addEventListener("visibilitychange", () => {
		if (document.hidden || !active)
			return;
		active.unread = 0;
		drawRooms();
		if (active.joined)
			refreshMembers(active);
	});
	window.addEventListener("resize", () => active && active.atEnd && toEnd(active));
	setInterval(() => {
		if (active && active.joined && !document.hidden)
			refreshMembers(active);
	}, REFRESH_MS);

	/* A reload goes straight back in; a new tab asks for a name first. */
	const name = storage.get(sessionStorage, "name");
	let names = [];
	try {
		names = JSON.parse(storage.get(sessionStorage, "rooms") || "[]");
	} catch {
		/* whatever wrote that: begin anew */
	}
	if (name && Array.isArray(names) && names.length)
		start(name, names.map(String));
	else
		welcome();
})();
