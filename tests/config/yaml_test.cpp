// The strict YAML subset: what yaml-cpp accepts and a config refuses.
#include "switchyard/config/node.h"
#include "tests/config/expect_refused.h"

namespace switchyard::config {
namespace {

struct Refused {
  std::string text;
  std::vector<std::string> pieces;
  const char* why;
};

std::string repeat(const std::string& text, int times) {
  std::string out;
  for (int i = 0; i < times; ++i) out += text;
  return out;
}

TEST(Yaml, RefusesWhatLeavesTheSubset) {
  const std::vector<Refused> rows = {
      {.text = "a: 1\nb: &x 2\n", .pieces = {"f.yaml:2", "anchors"}, .why = "anchor"},
      {.text = "a: &x [1]\nb: *x\n", .pieces = {"f.yaml:1", "anchors"}, .why = "alias of an anchor"},
      {.text = "b: *x\n", .pieces = {"f.yaml"}, .why = "alias of nothing"},
      {.text = "&a [*a]\n", .pieces = {"f.yaml:1", "anchors"}, .why = "a node that contains itself"},
      {.text = "a: &x\n", .pieces = {"anchors"}, .why = "anchor on nothing"},
      {.text = "a: 1\nb: 2\na: 3\n", .pieces = {"f.yaml:3", "'a' is given twice", "line 1"}, .why = "duplicate key"},
      {.text = "a: {b: 1, b: 2}\n", .pieces = {"f.yaml:1", "'b'"}, .why = "duplicate key in a flow map"},
      {.text = "a:\n  <<: {b: 1}\n", .pieces = {"f.yaml:2", "<<", "include"}, .why = "merge key"},
      {.text = "a: !!int 3\n", .pieces = {"f.yaml:1", "tag"}, .why = "core tag"},
      {.text = "a: !!python/object:os.system [x]\n", .pieces = {"tag"}, .why = "tag of a list"},
      {.text = "a: !!map {x: 1}\n", .pieces = {"tag"}, .why = "tag of a map"},
      {.text = "a: !thing\n", .pieces = {"tag"}, .why = "tag of nothing"},
      {.text = "a: 1\n---\nb: 2\n", .pieces = {"second document"}, .why = "second document"},
      {.text = "a: 1\n---\n", .pieces = {"second document"}, .why = "empty second document"},
      {.text = "a: 1\nb: \xff\n", .pieces = {"f.yaml:2", "0xff", "UTF-8"}, .why = "no UTF-8 lead byte"},
      {.text = "a: \xc3", .pieces = {"UTF-8"}, .why = "cut UTF-8 sequence"},
      {.text = "a: \xc0\xaf\n", .pieces = {"UTF-8"}, .why = "overlong UTF-8"},
      {.text = "a: \xed\xa0\x80\n", .pieces = {"UTF-8"}, .why = "surrogate"},
      {.text = "a: \xf5\x80\x80\x80\n", .pieces = {"UTF-8"}, .why = "beyond Unicode"},
      {.text = std::string("\xff\xfe"
                           "a\0:\0",
                           6),
       .pieces = {"UTF-8"},
       .why = "UTF-16"},
      {.text = std::string("a: 1\0b", 6), .pieces = {"control character 0x00"}, .why = "NUL"},
      {.text = "a: 1\n\x04"
               "b: 2\n",
       .pieces = {"f.yaml:2", "0x04"},
       .why = "yaml-cpp takes byte 4 for the end"},
      {.text = "a:\n\tb: 1\n", .pieces = {"f.yaml:2"}, .why = "tab indentation"},
      {.text = repeat("[", 65) + repeat("]", 65), .pieces = {"nested more than 64"}, .why = "too deep"},
      {.text = repeat("{a: ", 65) + repeat("}", 65), .pieces = {"nested more than 64"}, .why = "too deep in maps"},
      {.text = repeat("[", 400000), .pieces = {"f.yaml:1"}, .why = "far too deep"},
      {.text = "a: [" + repeat("1,", 100001) + "]", .pieces = {"100000"}, .why = "too many values"},
      {.text = "# " + repeat("x", 1000000), .pieces = {"1000002 bytes", "1000000"}, .why = "more than 1 MB"},
      {.text = "? [a, b]\n: 1\n", .pieces = {"key"}, .why = "a list as a key"},
      {.text = "{{a: 1}: 2}\n", .pieces = {"key"}, .why = "a map as a key"},
      {.text = ": 1\n", .pieces = {"f.yaml:1", "empty key"}, .why = "an empty key"},
      {.text = "a: [1, 2\nb: 3\n", .pieces = {"f.yaml", "not valid YAML"}, .why = "unclosed list"},
      {.text = "a: 1\n b: 2\n", .pieces = {"f.yaml:2", "not valid YAML"}, .why = "stray indentation"},
      {.text = "a: \"x", .pieces = {"not valid YAML"}, .why = "unclosed quote"},
      {.text = "a: \"x\nb: 2\n", .pieces = {"not valid YAML"}, .why = "unclosed quote that would swallow the file"},
      {.text = "a: 'x\nb: 2\n", .pieces = {"not valid YAML"}, .why = "unclosed single quote"},
  };
  for (const Refused& row : rows) expect_refused([&] { parse_yaml(row.text, "f.yaml"); }, row.pieces, row.why);
}

TEST(Yaml, KeepsValuesQuotesAndLines) {
  const Node root = parse_yaml("# comment\na: 1\nb:\n  c: \"x\"\n  d: [~, {e: 'null'}]\n---x: \xc3\xa4\n", "f.yaml");
  ASSERT_EQ(root.kind, Node::Kind::map);
  EXPECT_EQ(root.find("a")->text, "1");
  EXPECT_FALSE(root.find("a")->is_quoted);
  EXPECT_EQ(root.find("a")->origin, "f.yaml:2");
  EXPECT_EQ(root.find("b")->origin, "f.yaml:3");
  const Node& c = *root.find("b")->find("c");
  EXPECT_TRUE(c.is_quoted);
  EXPECT_EQ(c.origin, "f.yaml:4");
  const Node& d = *root.find("b")->find("d");
  ASSERT_EQ(d.children.size(), 2u);
  EXPECT_EQ(d.children[0].kind, Node::Kind::null);
  EXPECT_EQ(d.children[1].find("e")->text, "null");
  EXPECT_EQ(root.find("---x")->text, "\xc3\xa4");
  EXPECT_EQ(root.find("missing"), nullptr);
}

TEST(Yaml, AcceptsOneDocumentWithMarkersAndAnEmptyFile) {
  EXPECT_EQ(parse_yaml("---\na: 1\n...\n", "f.yaml").find("a")->text, "1");
  EXPECT_EQ(parse_yaml("\xef\xbb\xbf"
                       "a: 1\r\nb: 2\r\n",
                       "f.yaml")
                .find("b")
                ->text,
            "2");
  EXPECT_EQ(parse_yaml("", "f.yaml").kind, Node::Kind::null);
  EXPECT_EQ(parse_yaml("# nothing\n", "f.yaml").kind, Node::Kind::null);
  EXPECT_EQ(parse_yaml(repeat("[", 64) + repeat("]", 64), "f.yaml").kind, Node::Kind::list);
}

TEST(Yaml, MergeReplacesListsAndJoinsSections) {
  Node root = parse_yaml("a: {x: 1, y: 2}\nb: [1, 2]\nc: 3\n", "base.yaml");
  merge(root, parse_yaml("a: {y: 5, z: 6}\nb: [7]\nc: {d: 1}\n", "later.yaml"));
  EXPECT_EQ(root.find("a")->find("x")->origin, "base.yaml:1");
  EXPECT_EQ(root.find("a")->find("y")->text, "5");
  EXPECT_EQ(root.find("a")->find("y")->origin, "later.yaml:1");
  EXPECT_EQ(root.find("a")->children.size(), 3u);
  EXPECT_EQ(root.find("b")->children.size(), 1u);
  EXPECT_EQ(root.find("c")->kind, Node::Kind::map);
}

}  // namespace
}  // namespace switchyard::config
