package main

import (
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
)

const maxIgnoreFile = 1 << 20

// ignoreRule is one line of a .gitignore (gitignore(5)).
type ignoreRule struct {
	pattern       *regexp.Regexp
	negated       bool
	directoryOnly bool
}

// ignoreRules are those of one directory, and those above it.
type ignoreRules struct {
	base   string // the directory's path below the workspace, "" for the workspace itself
	rules  []ignoreRule
	parent *ignoreRules
}

// readIgnoreRules adds the rules of a directory's files to those above it.
func readIgnoreRules(workspace, directory string, parent *ignoreRules, names ...string) *ignoreRules {
	found := &ignoreRules{base: directory, parent: parent}
	for _, name := range names {
		file := filepath.Join(workspace, directory, name)
		if info, err := os.Lstat(file); err != nil || !info.Mode().IsRegular() || info.Size() > maxIgnoreFile {
			continue
		}
		content, err := os.ReadFile(file)
		if err != nil {
			continue
		}
		for _, line := range strings.Split(string(content), "\n") {
			if rule, ok := parseIgnoreRule(strings.TrimSuffix(line, "\r")); ok {
				found.rules = append(found.rules, rule)
			}
		}
	}
	if len(found.rules) == 0 {
		return parent
	}
	return found
}

func parseIgnoreRule(line string) (ignoreRule, bool) {
	if strings.HasPrefix(line, "#") {
		return ignoreRule{}, false
	}
	for strings.HasSuffix(line, " ") && !strings.HasSuffix(line, `\ `) {
		line = line[:len(line)-1]
	}
	var rule ignoreRule
	if strings.HasPrefix(line, "!") {
		rule.negated, line = true, line[1:]
	}
	if strings.HasSuffix(line, "/") {
		rule.directoryOnly, line = true, strings.TrimRight(line, "/")
	}
	if line == "" {
		return rule, false
	}
	anchored := strings.Contains(line, "/")
	expression := globExpression(strings.TrimPrefix(line, "/"), false)
	if !anchored {
		expression = "(?:.*/)?" + expression
	}
	pattern, err := regexp.Compile("^" + expression + "$")
	if err != nil {
		return rule, false
	}
	rule.pattern = pattern
	return rule, true
}

// ignored tells whether git would leave a path out; the directories above it are known to be taken.
func (r *ignoreRules) ignored(name string, isDirectory bool) bool {
	for at := r; at != nil; at = at.parent {
		below := name
		if at.base != "" {
			below = strings.TrimPrefix(name, at.base+"/")
		}
		for i := len(at.rules) - 1; i >= 0; i-- {
			rule := &at.rules[i]
			if (!rule.directoryOnly || isDirectory) && rule.pattern.MatchString(below) {
				return !rule.negated
			}
		}
	}
	return false
}

// globExpression turns a glob into a regular expression without anchors: `*` and `?` stop at a slash, `**` does not.
func globExpression(glob string, braces bool) string {
	var out strings.Builder
	depth := 0
	for i := 0; i < len(glob); i++ {
		switch c := glob[i]; {
		case strings.HasPrefix(glob[i:], "**/") && (i == 0 || glob[i-1] == '/'):
			out.WriteString("(?:.*/)?")
			i += 2
		case glob[i:] == "**" && (i == 0 || glob[i-1] == '/'):
			out.WriteString(".+")
			i++
		case c == '*':
			out.WriteString("[^/]*")
		case c == '?':
			out.WriteString("[^/]")
		case c == '[':
			end := strings.IndexByte(glob[min(i+2, len(glob)):], ']')
			if end < 0 {
				out.WriteString(`\[`)
				continue
			}
			class := glob[i+1 : i+2+end]
			if strings.HasPrefix(class, "!") {
				class = "^" + class[1:]
			}
			out.WriteString("[" + strings.ReplaceAll(class, `[`, `\[`) + "]")
			i += end + 2
		case c == '\\' && i+1 < len(glob):
			i++
			out.WriteString(regexp.QuoteMeta(glob[i : i+1]))
		case c == '{' && braces && strings.Contains(glob[i:], "}"):
			depth++
			out.WriteString("(?:")
		case c == '}' && depth > 0:
			depth--
			out.WriteString(")")
		case c == ',' && depth > 0:
			out.WriteString("|")
		default:
			out.WriteString(regexp.QuoteMeta(glob[i : i+1]))
		}
	}
	return out.String()
}

// plainlyMade tells of a directory that a tool filled and nobody wrote: a search passes over it where no rule speaks.
func plainlyMade(workspace, name string) bool {
	switch path.Base(name) {
	case "node_modules", "__pycache__":
		return true
	}
	for _, mark := range []string{"pyvenv.cfg", "CACHEDIR.TAG"} {
		if info, err := os.Lstat(filepath.Join(workspace, name, mark)); err == nil && info.Mode().IsRegular() {
			return true
		}
	}
	return false
}
