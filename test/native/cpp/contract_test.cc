// What both backends share of contract/ and no command shows.
#include <string.h>

#include <string>

#include "check.h"
#include "contract/status.h"

namespace {

void a_long_message_is_cut_between_two_characters() {
  // Two bytes each; the room for 507 bytes holds 253 of them and half of the next.
  std::string message;
  for (int i = 0; i < 300; ++i) message += "\u00e9";
  zo2_error error;
  zo2::contract::write_error(&error, ZO2_STATUS_DEVICE, message.c_str());
  CHECK(strlen(error.message) == 506 && message.compare(0, 506, error.message) == 0, "%zu bytes",
        strlen(error.message));
  const std::string exact(507, 'x');
  zo2::contract::write_error(&error, ZO2_STATUS_DEVICE, exact.c_str());
  CHECK(exact == error.message);
}

void an_exception_of_any_type_becomes_a_message() {
  zo2_error error;
  CHECK(zo2::contract::guarded(&error, [] { throw 1; }) == ZO2_STATUS_DEVICE);
  CHECK(strcmp(error.message, "the backend met an unknown exception") == 0, "%s", error.message);
}

}  // namespace

int main() {
  an_exception_of_any_type_becomes_a_message();
  a_long_message_is_cut_between_two_characters();
  return zo2::test::report();
}
