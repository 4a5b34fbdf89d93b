/* Dates as Date.prototype.toJSON writes them. */
#include "proto/date.h"
#include "test.h"

static void test_rows(void)
{
	static const struct {
		double ms;
		const char *text;
	} dates[] = {
		{0, "1970-01-01T00:00:00.000Z"},
		{-1, "1969-12-31T23:59:59.999Z"},
		{-0.9, "1970-01-01T00:00:00.000Z"},
		{1709164800000.9, "2024-02-29T00:00:00.000Z"},
		{951782400000, "2000-02-29T00:00:00.000Z"},
		{-2203891200001, "1900-02-28T23:59:59.999Z"},
		{-62135596800000, "0001-01-01T00:00:00.000Z"},
		{-62167219200000, "0000-01-01T00:00:00.000Z"},
		{-62167219200001, "-000001-12-31T23:59:59.999Z"},
		{253402300799999, "9999-12-31T23:59:59.999Z"},
		{253402300800000, "+010000-01-01T00:00:00.000Z"},
		{8.64e15, "+275760-09-13T00:00:00.000Z"},
		{-8.64e15, "-271821-04-20T00:00:00.000Z"},
		{8.64e15 + 1, ""},
	};

	for (size_t i = 0; i < sizeof(dates) / sizeof(dates[0]); i++) {
		char text[DATE_TEXT_MAX];

		CHECK_SLICE(slice_of(text, date_format(text, dates[i].ms)),
			    slice_str(dates[i].text), dates[i].text);
	}
}

int main(void)
{
	test_rows();
	return test_done();
}
