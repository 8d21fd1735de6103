// Reading structs from their fields: every type, every refusal, with its place and remedy.
#include "tests/config/example.h"
#include "tests/config/expect_refused.h"

namespace switchyard::config::example {
namespace {

TEST(Read, DefaultsHoldWhereNothingIsGiven) {
  const auto parsed = parse_text("name: x\n");
  Example expected;
  expected.name = "x";
  EXPECT_EQ(parsed.value, expected);
  EXPECT_EQ(parsed.origins, (Origins{{"name", "f.yaml:1"}}));
}

TEST(Read, ReadsEveryType) {
  const auto parsed = parse_text(
      "name: 12 monkeys\ncount: 7\nscale: 2.5e-3\nis_on: true\ncolor: dark-red\nnote: null\n"
      "range:\n  first: 2\n  last: -3\nwindow: none\nsteps: []\npair: [+1, .5]\n"
      "rules:\n  - {color: red, file: a}\n  - color: dark-red\n    rate: 3\n",
      {"range.first=-0", "range.last=5"});
  Example expected;
  expected.name = "12 monkeys";
  expected.count = 7;
  expected.scale = 2.5e-3;
  expected.is_on = true;
  expected.color = Color::dark_red;
  expected.range = {.first = 0, .last = 5};
  expected.window.reset();
  expected.steps = {};
  expected.pair = {1.0, 0.5};
  expected.rules = {{.color = Color::red, .file = "a"}, {.color = Color::dark_red, .rate = 3.0}};
  EXPECT_EQ(parsed.value, expected);
  EXPECT_EQ(parsed.origins.at("rules[1].rate"), "f.yaml:16");
  EXPECT_EQ(parsed.origins.at("range.last"), "override");
}

struct Refused {
  std::string line;
  std::vector<std::string> pieces;
  const char* why;
};

TEST(Read, RefusesWithPlaceKeyValueAndRemedy) {
  const std::vector<Refused> rows = {
      {.line = "count: 1e3", .pieces = {"f.yaml:2: count:", "'1e3'", "1000"}, .why = "an exponent is no integer"},
      {.line = "count: 1.0", .pieces = {"count", "an integer"}, .why = "a fraction is no integer"},
      {.line = "count: 010", .pieces = {"'010'", "octal"}, .why = "YAML's octal"},
      {.line = "count: 0x10", .pieces = {"'0x10'", "an integer"}, .why = "hexadecimal"},
      {.line = "count: 1_000", .pieces = {"'1_000'"}, .why = "underscores"},
      {.line = "count: 99999999999999999999", .pieces = {"out of range", "from 1 to 1000"}, .why = "beyond 64 bits"},
      {.line = "count: 1001", .pieces = {"1001 is out of range", "from 1 to 1000"}, .why = "above the range"},
      {.line = "count: -1", .pieces = {"-1 is out of range"}, .why = "below the range"},
      {.line = "count: \"5\"", .pieces = {"'5'", "quotes"}, .why = "a quoted number is text"},
      {.line = "count:", .pieces = {"nothing (null)", "an integer"}, .why = "no value"},
      {.line = "count: [1]", .pieces = {"a list", "an integer"}, .why = "a list"},
      {.line = "steps: [1, 2147483648]", .pieces = {"steps[1]", "2147483647"}, .why = "an integer without a range"},
      {.line = "scale: 1e400", .pieces = {"1e400 is out of range"}, .why = "beyond double"},
      {.line = "scale: .inf", .pieces = {"'.inf'", "finite"}, .why = "infinity"},
      {.line = "scale: -.inf", .pieces = {"'-.inf'", "finite"}, .why = "minus infinity"},
      {.line = "scale: .nan", .pieces = {"'.nan'", "finite"}, .why = "not a number"},
      {.line = "scale: 0", .pieces = {"greater than 0"}, .why = "an open bound"},
      {.line = "scale: 01.5", .pieces = {"leading zeros"}, .why = "a leading zero"},
      {.line = "scale: 1.5.2", .pieces = {"'1.5.2'", "a number"}, .why = "two points"},
      {.line = "scale: e5", .pieces = {"'e5'"}, .why = "no digits"},
      {.line = "scale: 1e", .pieces = {"'1e'"}, .why = "no exponent"},
      {.line = "is_on: yes", .pieces = {"'yes'", "true or false"}, .why = "yes is no boolean"},
      {.line = "is_on: on", .pieces = {"'on'", "true or false"}, .why = "on is no boolean"},
      {.line = "is_on: n", .pieces = {"'n'"}, .why = "n is no boolean"},
      {.line = "is_on: 1", .pieces = {"'1'"}, .why = "1 is no boolean"},
      {.line = "is_on: True", .pieces = {"'True'"}, .why = "a capital"},
      {.line = "is_on: 'true'", .pieces = {"true or false"}, .why = "quoted"},
      {.line = "color: rde", .pieces = {"'rde'", "red | dark-red", "did you mean 'red'?"}, .why = "a typing mistake"},
      {.line = "color: purple", .pieces = {"'purple'", "red | dark-red"}, .why = "unknown choice"},
      {.line = "color: blue",
       .pieces = {"color: 'blue' is not built yet", "accepted now: red | dark-red"},
       .why = "a choice that is not built"},
      {.line = "color: null", .pieces = {"nothing"}, .why = "no choice"},
      {.line = "wings: 3",
       .pieces = {"wings: 3: flying with more wings is not built yet", "accepted now: 2"},
       .why = "a feature that is not built"},
      {.line = "later: {last: 7}",
       .pieces = {"time travel is not built yet", "{first: 0, last: 9}"},
       .why = "a section that is not built"},
      {.line = "note: [a]", .pieces = {"note", "text"}, .why = "a list for text"},
      {.line = "range: 5", .pieces = {"range", "section"}, .why = "a number for a section"},
      {.line = "range:", .pieces = {"range", "section"}, .why = "an empty section"},
      {.line = "window: all", .pieces = {"window", "none, or a section"}, .why = "another word than none"},
      {.line = "range: {frist: 1}",
       .pieces = {"f.yaml:2: range.frist: unknown key", "'range.first'"},
       .why = "swapped"},
      {.line = "cuont: 1", .pieces = {"unknown key", "'count'"}, .why = "unknown key"},
      {.line = "first: 1", .pieces = {"unknown key", "'range.first'"}, .why = "a key of another section"},
      {.line = "zzz: 1", .pieces = {"unknown key", "keys here: name, count"}, .why = "nothing near"},
      {.line = "steps: 3", .pieces = {"steps", "a list"}, .why = "a number for a list"},
      {.line = "steps: [1, -1]", .pieces = {"steps[1]", "-1 is out of range"}, .why = "a bad item"},
      {.line = "pair: [1]", .pieces = {"a list of 2"}, .why = "too short"},
      {.line = "pair: [0, 2]", .pieces = {"pair[1]", "at most 1"}, .why = "a bad item in a pair"},
      {.line = "rules: [{file: a}]",
       .pieces = {"rules[0].color: is required", "which"},
       .why = "a required key of an item"},
      {.line = "rules: [{color: red}]", .pieces = {"rules[0].file: is required"}, .why = "required for one kind"},
      {.line = "rules: [{color: red, file: a, rate: 1}]",
       .pieces = {"rules[0].rate: belongs to color dark-red"},
       .why = "a key of another kind"},
      {.line = "rules: [{color: red, file: ''}]", .pieces = {"is empty"}, .why = "required, but empty"},
      {.line = "range: {first: 5, last: 4}",
       .pieces = {"f.yaml:2: range.first: 5 comes after last=4"},
       .why = "a rule between keys"},
      {.line = "range: {first: 4}",
       .pieces = {"f.yaml:2: range.first: 4 exceeds count=3"},
       .why = "a rule between sections"},
      {.line = "count: 2\nrange: {first: 3, last: 3}",
       .pieces = {"f.yaml:3: range.first"},
       .why = "the key's own line"},
      {.line = "include: {a: b}",
       .pieces = {"f.yaml:2: include", "a file or a list of files"},
       .why = "include a section"},
  };
  for (const Refused& row : rows)
    expect_refused([&] { parse_text("name: x\n" + row.line + "\n"); }, row.pieces, row.why);
}

TEST(Read, RequiredKeysMayBeAbsentWhereTheUseSaysSo) {
  expect_refused([] { parse_text("count: 2\n"); }, {"f.yaml: name: is required: what it is called"}, "no name");
  expect_refused([] { parse_text("name: null\n"); }, {"name", "text"}, "null is no text");
  EXPECT_EQ(parse_text("count: 2\n", {}, {.may_be_absent = {"name"}}).value.name, "");
}

TEST(Read, ShowsEveryProblemAtOnce) {
  expect_refused([] { parse_text("count: a\nscale: b\nis_on: c\n"); },
                 {"f.yaml: name", "f.yaml:1: count", "f.yaml:2: scale", "f.yaml:3: is_on"}, "four problems");
  std::string many = "name: x\n";
  for (int i = 0; i < 30; ++i) many += fmt::format("unknown_{}: 1\n", i);
  expect_refused([&] { parse_text(many); }, {"and 10 more problems"}, "thirty problems");
}

TEST(Read, ValidateChecksAStructThatWasNotParsed) {
  Example value;
  EXPECT_NO_THROW(validate(value));
  value.range = {.first = 3, .last = 2};
  expect_refused([&] { validate(value); }, {"first: 3 comes after last=2"}, "an inner rule");
}

}  // namespace
}  // namespace switchyard::config::example
