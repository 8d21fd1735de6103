// Writing a config: the text reads back to the same values, and says where each came from; descriptions of its keys.
#include "tests/config/example.h"
#include "tests/config/expect_refused.h"

#include <nlohmann/json.hpp>

#include <bit>

namespace switchyard::config::example {
namespace {

std::string resolved(const Parsed<Example>& parsed) {
  return to_block(to_node(parsed.value), [&](const std::string& key) {
    const auto origin = parsed.origins.find(key);
    return origin == parsed.origins.end() ? "default" : origin->second;
  });
}

TEST(Write, NumbersReadBackBitForBit) {
  for (const double value :
       {-0.0, -1.0, -0.1, -1e-9, -2.5e-300, -5e-324, -1.7976931348623157e308, -1e22, -1.0 / 3.0, 0.75}) {
    const auto parsed = parse_text("name: x\n", {fmt::format("pair=[{0}, {0}]", number_text(value))});
    EXPECT_EQ(std::bit_cast<uint64_t>(parsed.value.pair[0]), std::bit_cast<uint64_t>(value)) << number_text(value);
  }
  EXPECT_EQ(number_text(1e-6), "1.0e-6");
  EXPECT_EQ(number_text(3), "3.0");
}

TEST(Write, TextReadsBackWhateverItHolds) {
  for (const std::string text : {"plain/path-1.bin",
                                 "null",
                                 "~",
                                 "true",
                                 "12",
                                 "a b",
                                 " a",
                                 "a: b",
                                 "# a",
                                 "a #b",
                                 "\"",
                                 "'",
                                 "\\",
                                 "-",
                                 "- a",
                                 "[x]",
                                 "{y",
                                 "&a",
                                 "*a",
                                 "!t",
                                 "|",
                                 "a\nb",
                                 "a\tb",
                                 "\x01\x7f",
                                 "\xc3\xa4",
                                 "=",
                                 "..."}) {
    Example value;
    value.name = text;
    value.note = text;
    value.rules = {{.color = Color::red, .file = text}};
    const std::string yaml = to_block(to_node(value), [](const std::string&) { return "x"; });
    EXPECT_EQ(parse_text(yaml).value, value) << yaml;
    const Node flow = parse_yaml(to_flow(to_node(value)), "flow");
    EXPECT_EQ(flow.find("name")->text, text);
  }
}

// The comment on the line that starts with `text`.
std::string comment_of(const std::string& yaml, const std::string& text) {
  const size_t line = yaml.find(text);
  if (line == std::string::npos) return "no such line";
  const size_t comment = yaml.find("# ", line) + 2;
  return yaml.substr(comment, yaml.find('\n', line) - comment);
}

TEST(Write, ResolvedNamesEveryKeyAndItsOrigin) {
  const auto parsed = parse_text("name: x\nrules:\n  - {color: red, file: a}\nrange: {last: 5}\n", {"count=4"});
  const std::string text = resolved(parsed);
  EXPECT_EQ(comment_of(text, "name: x"), "f.yaml:1");
  EXPECT_EQ(comment_of(text, "count: 4"), "override");
  EXPECT_EQ(comment_of(text, "scale: 1.0"), "default");
  EXPECT_EQ(comment_of(text, "  first: 0"), "default");
  EXPECT_EQ(comment_of(text, "  last: 5"), "f.yaml:4");
  EXPECT_EQ(comment_of(text, "rules:"), "f.yaml:2");
  EXPECT_EQ(comment_of(text, "  - color: red"), "f.yaml:3");
  EXPECT_EQ(comment_of(text, "    file: a"), "f.yaml:3");
  EXPECT_EQ(text.find("rate"), std::string::npos) << "a key of another kind";
  EXPECT_EQ(parse_text(text).value, parsed.value);
}

TEST(Write, ResolvedIsAFixedPoint) {
  const auto parsed = parse_text("name: x\nwindow: none\nsteps: []\n");
  const auto strip = [](const Parsed<Example>& p) {
    return to_block(to_node(p.value), [](const std::string&) { return ""; });
  };
  EXPECT_EQ(strip(parse_text(resolved(parsed))), strip(parsed));
}

TEST(Write, OriginsCannotBreakTheText) {
  const auto parsed = parse<Example>(Sources::of_text("odd\nname: y\n\xff", "name: x\n"));
  EXPECT_EQ(parse_text(resolved(parsed)).value, parsed.value);
}

TEST(Describe, ListsEveryKey) {
  const std::vector<std::string> keys = key_list(describe<Example>());
  for (const char* key : {"name", "range", "range.first", "window.last", "rules", "later.first"})
    EXPECT_NE(std::ranges::find(keys, key), keys.end()) << key;
}

TEST(Describe, MarkdownHasARowPerKey) {
  const std::string text = to_markdown(describe<Example>());
  for (const char* row :
       {"| `name` | text | required | what it is called |", "| `count` | an integer from 1 to 1000 | `3` | how many |",
        "| `steps` | list; each an integer, at least 0 |",
        "| `color` | `red`, `dark-red` | `red` | which color. Not built yet: `blue` |", "## range\n",
        "| `window` | `none` or section | `{first: 0, last: 9}` | what is seen; none: all |", "## rules[]\n",
        "Only for color dark-red", "Only the default is accepted: time travel is not built yet"})
    EXPECT_NE(text.find(row), std::string::npos) << row << "\n" << text;
}

TEST(Describe, SchemaRefusesUnknownKeysAndStatesRangesAndDefaults) {
  const auto schema = nlohmann::json::parse(to_json_schema(describe<Example>(), "Example"));
  EXPECT_EQ(schema["additionalProperties"], false);
  const auto& properties = schema["properties"];
  EXPECT_EQ(properties["count"]["type"], "integer");
  EXPECT_EQ(properties["count"]["maximum"], 1000);
  EXPECT_EQ(properties["count"]["default"], 3);
  EXPECT_EQ(properties["steps"]["items"]["maximum"], 2147483647) << "what is accepted where no limit is given";
  EXPECT_EQ(properties["scale"]["exclusiveMinimum"], 0.0);
  EXPECT_EQ(properties["color"]["enum"], (nlohmann::json{"red", "dark-red"}));
  EXPECT_EQ(properties["wings"]["const"], 2);
  EXPECT_EQ(properties["note"]["anyOf"][0]["const"], nullptr);
  EXPECT_EQ(properties["window"]["anyOf"][0]["const"], "none");
  EXPECT_EQ(properties["pair"]["minItems"], 2);
  EXPECT_EQ(properties["rules"]["items"]["properties"]["rate"]["type"], "number");
  EXPECT_TRUE(properties.contains("include"));
}

}  // namespace
}  // namespace switchyard::config::example
