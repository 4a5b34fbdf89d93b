#include "bench/client.h"

const char *client_state_name(enum client_state state)
{
	static const char *const names[] = {
		"idle",	  "opening", "entering", "probing", "joining",
		"member", "closing", "gone",	 "failed",
	};
	return names[state];
}

const char *client_error_key(enum client_error error)
{
	static const char *const keys[] = {
#define CLIENT_ERROR_KEY_(name, key, text) (key),
		CLIENT_ERROR_TABLE(CLIENT_ERROR_KEY_)
#undef CLIENT_ERROR_KEY_
	};
	return keys[error];
}

const char *client_error_text(enum client_error error)
{
	static const char *const texts[] = {
#define CLIENT_ERROR_TEXT_(name, key, text) (text),
		CLIENT_ERROR_TABLE(CLIENT_ERROR_TEXT_)
#undef CLIENT_ERROR_TEXT_
	};
	return texts[error];
}
