#include "bench/seq.h"

#include <stdbool.h>
#include <string.h>

static uint64_t *word(struct seq *s, uint64_t number)
{
	return &s->seen[number % SEQ_WINDOW / 64];
}

static uint64_t bit(uint64_t number)
{
	return (uint64_t)1 << number % 64;
}

enum seq_verdict seq_take(struct seq *s, uint64_t number)
{
	bool late = number < s->next;

	if (late && (s->next - number > SEQ_WINDOW || *word(s, number) & bit(number)))
		return SEQ_DOUBLE;
	if (!late && number - s->next >= SEQ_WINDOW) {
		memset(s->seen, 0, sizeof(s->seen));
		s->next = number;
	}
	for (; s->next <= number; s->next++)
		*word(s, s->next) &= ~bit(s->next);
	*word(s, number) |= bit(number);
	s->unique++;
	return late ? SEQ_LATE : SEQ_NEW;
}

uint64_t seq_lost(const struct seq *s, uint64_t sent)
{
	return sent > s->unique ? sent - s->unique : 0;
}
