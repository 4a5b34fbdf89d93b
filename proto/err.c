#include "proto/err.h"

const char *err_text(enum err err)
{
	static const char *const texts[] = {
#define ERR_TEXT_(name, text) [ERR_##name] = (text),
		ERR_TABLE(ERR_TEXT_)
#undef ERR_TEXT_
	};
	return texts[err];
}
