/* What a client's packets mean: Engine.IO on top, Socket.IO within. */
#ifndef GATEHOUSE_GATEWAY_CONN_PACKET_H
#define GATEHOUSE_GATEWAY_CONN_PACKET_H

#include "gateway/conn.h"

/* Handle one packet of an open conn that is not held. False: it can't be handled now; the
 * conn was put on hold, and the caller keeps the packet and brings it again. */
bool conn_packet(struct conn *c, struct slice bytes, bool binary);

#endif
