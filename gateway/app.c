#include "gateway/app.h"

#include <assert.h>

#include "gateway/namespace.h"
#include "gateway/node.h"
#include "gateway/socket.h"

void app_ack_error(struct socket *s, uint64_t ack_id, const char *code,
		   const char *message)
{
	struct buf *b = &s->ns->node->encode;
	msgpack_packer pk;
	enum err err;

	buf_clear(b);
	mp_packer(&pk, b);
	msgpack_pack_array(&pk, 1);
	msgpack_pack_map(&pk, 2);
	mp_pack_str(&pk, SLICE_LIT("ok"));
	msgpack_pack_false(&pk);
	mp_pack_str(&pk, SLICE_LIT("error"));
	msgpack_pack_map(&pk, 2);
	mp_pack_str(&pk, SLICE_LIT("code"));
	mp_pack_str(&pk, slice_str(code));
	mp_pack_str(&pk, SLICE_LIT("message"));
	mp_pack_str(&pk, slice_str(message));
	err = socket_ack(s, ack_id, buf_view(b));
	assert(err == ERR_OK);
	(void)err;
}
