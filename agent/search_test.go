package main

import (
	"encoding/json"
	"math/rand"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"sort"
	"strings"
	"testing"
)

func searchIn(t *testing.T, root string, request map[string]any) (int, map[string]any) {
	t.Helper()
	a := newAgent(config{workspace: root})
	if _, ok := request["limit"]; !ok {
		request["limit"] = 100
	}
	body, _ := json.Marshal(request)
	recorder := httptest.NewRecorder()
	a.routes().ServeHTTP(recorder, httptest.NewRequest(http.MethodPost, "/v1/files/search", strings.NewReader(string(body))))
	var answer map[string]any
	if err := json.Unmarshal(recorder.Body.Bytes(), &answer); err != nil {
		t.Fatalf("%s: %v", recorder.Body, err)
	}
	return recorder.Code, answer
}

func foundPaths(answer map[string]any) []string {
	paths := []string{}
	for _, file := range answer["files"].([]any) {
		paths = append(paths, file.(map[string]any)["path"].(string))
	}
	return paths
}

func writeTree(t *testing.T, root string, files map[string]string) {
	t.Helper()
	for name, content := range files {
		file := filepath.Join(root, name)
		os.MkdirAll(filepath.Dir(file), 0o755)
		if err := os.WriteFile(file, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func TestSearchLinesAndContext(t *testing.T) {
	root := t.TempDir()
	writeTree(t, root, map[string]string{"a.py": "one\ntwo\nthree\ntwo\nfive\n", "b.txt": "two\x00", "c/d.py": "TWO\r\n"})
	code, answer := searchIn(t, root, map[string]any{"pattern": "^two$", "lines": true, "context": 1})
	if code != 200 || strings.Join(foundPaths(answer), " ") != "a.py" {
		t.Fatal(code, answer)
	}
	file := answer["files"].([]any)[0].(map[string]any)
	var got []string
	for _, line := range file["lines"].([]any) {
		got = append(got, line.(map[string]any)["text"].(string))
	}
	if strings.Join(got, " ") != "one two three two five" || file["matches"].(float64) != 2 || answer["binary"].(float64) != 1 {
		t.Fatal(answer)
	}
	if _, answer = searchIn(t, root, map[string]any{"pattern": "two$", "ignore_case": true}); len(foundPaths(answer)) != 2 {
		t.Fatal(answer)
	}
	if _, answer = searchIn(t, root, map[string]any{"pattern": "t.o", "literal": true}); len(foundPaths(answer)) != 0 {
		t.Fatal(answer)
	}
	for _, bad := range []map[string]any{{"pattern": "("}, {"pattern": "a", "path": "../x"}, {"pattern": "a", "limit": 0}, {"pattern": "a", "path": "none"}} {
		if code, answer := searchIn(t, root, bad); code < 400 {
			t.Fatal(bad, answer)
		}
	}
}

func TestSearchGlobs(t *testing.T) {
	root := t.TempDir()
	writeTree(t, root, map[string]string{"a.py": "", "x/b.py": "", "x/y/c.ts": "", "x/y/d.tsx": "", "docs/e.md": ""})
	for glob, want := range map[string]string{
		"*.py": "a.py x/b.py", "x/*.py": "x/b.py", "**/*.ts": "x/y/c.ts", "*.{ts,tsx}": "x/y/c.ts x/y/d.tsx",
		"x/**": "x/b.py x/y/c.ts x/y/d.tsx", "/workspace/docs/*": "docs/e.md", "[ad].*": "a.py x/y/d.tsx", "docs": "docs/e.md",
	} {
		_, answer := searchIn(t, root, map[string]any{"globs": []string{glob}})
		if got := strings.Join(foundPaths(answer), " "); got != want {
			t.Errorf("%s: %s, not %s", glob, got, want)
		}
	}
	_, answer := searchIn(t, root, map[string]any{"globs": []string{"*.py", "!x"}})
	if got := strings.Join(foundPaths(answer), " "); got != "a.py" {
		t.Error(got)
	}
}

// Any tree and any rules: what a search passes over is what git passes over.
func TestSearchIgnoresWhatGitIgnores(t *testing.T) {
	git, err := exec.LookPath("git")
	if err != nil {
		t.Skip("git is not on this machine")
	}
	random := rand.New(rand.NewSource(20261127))
	names := []string{"a", "b", "ab", "a.o", "b.o", "build", "src", "a b", ".x", "[q]"}
	lines := []string{"a", "/a", "a/", "*.o", "!*.o", "!a.o", "build/", "/build", "src/*", "!src/a", "**/a", "a/**", "src/**/b", "#a", `\#a`, "", "a b", "a ", "*", "!*/", "?b", "[ab]", "[!a]", ".*", "/src/b", `\[q\]`, "ab?", "!/b"}
	for round := range 150 {
		root := t.TempDir()
		files := map[string]string{}
		pick := func() string { return names[random.Intn(len(names))] }
		for range 25 {
			parts := []string{}
			for range 1 + random.Intn(3) {
				parts = append(parts, pick())
			}
			files[strings.Join(parts, "/")] = "x"
		}
		for name := range files { // a name is a file or a directory, not both
			for other := range files {
				if strings.HasPrefix(other, name+"/") {
					delete(files, name)
				}
			}
		}
		rules := func() string {
			chosen := []string{}
			for range random.Intn(5) {
				chosen = append(chosen, lines[random.Intn(len(lines))])
			}
			return strings.Join(chosen, "\n") + "\n"
		}
		files[".gitignore"] = rules()
		for name := range files {
			if directory := filepath.Dir(name); directory != "." && random.Intn(3) == 0 {
				files[directory+"/.gitignore"] = rules()
			}
		}
		writeTree(t, root, files)
		if out, err := exec.Command(git, "init", "-q", root).CombinedOutput(); err != nil {
			t.Fatal(string(out))
		}
		command := exec.Command(git, "-C", root, "-c", "core.excludesFile=/dev/null", "ls-files", "-z", "--others", "--exclude-standard")
		listed, err := command.Output()
		if err != nil {
			t.Fatal(err)
		}
		want := strings.FieldsFunc(string(listed), func(r rune) bool { return r == 0 })
		sort.Strings(want)
		_, answer := searchIn(t, root, map[string]any{"limit": 1000})
		if got := foundPaths(answer); strings.Join(got, "\n") != strings.Join(want, "\n") {
			t.Fatalf("round %d:\n%v\ngit:\n%v\nrules: %q %v", round, got, want, files[".gitignore"], files)
		}
	}
}

func TestSearchPassesOverWhatIsMade(t *testing.T) {
	root := t.TempDir()
	writeTree(t, root, map[string]string{"node_modules/x/a.js": "x", "env/pyvenv.cfg": "", "env/lib/b.py": "x", "src/c.py": "x"})
	if _, answer := searchIn(t, root, map[string]any{"pattern": "x"}); strings.Join(foundPaths(answer), " ") != "src/c.py" {
		t.Fatal(answer)
	}
	if _, answer := searchIn(t, root, map[string]any{"pattern": "x", "include_ignored": true}); len(foundPaths(answer)) != 3 {
		t.Fatal(answer)
	}
}

func FuzzSearch(f *testing.F) {
	f.Add("a*[", "!*.py\n/x/**\n", "**/{a,b")
	f.Fuzz(func(t *testing.T, pattern, rules, glob string) {
		root := t.TempDir()
		writeTree(t, root, map[string]string{".gitignore": rules, "x/a.py": pattern, "b": "b"})
		if code, _ := searchIn(t, root, map[string]any{"pattern": pattern, "globs": []string{glob}, "lines": true}); code >= 500 {
			t.Fatal(code)
		}
	})
}
