package main

import (
	"bytes"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"regexp/syntax"
	"runtime"
	"sort"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

const (
	maxSearchFile    = 16 << 20 // larger files are passed over, and counted
	maxSearchResults = 10_000
	maxSearchGlobs   = 64
	maxSearchPattern = 4096
	maxSearchLine    = 500     // bytes of a line that are shown
	maxSearchBytes   = 8 << 20 // of lines that are kept
	searchTime       = 30 * time.Second
	sniffed          = 8000 // as git does: a NUL among so many bytes makes a file binary
)

type searchRequest struct {
	Path           string   `json:"path"`
	Pattern        string   `json:"pattern"` // none: files are looked for by name alone
	Literal        bool     `json:"literal"`
	IgnoreCase     bool     `json:"ignore_case"`
	Globs          []string `json:"globs"`
	Context        int      `json:"context"`
	Limit          int      `json:"limit"`
	IncludeIgnored bool     `json:"include_ignored"`
	LinesWanted    bool     `json:"lines"` // else only which files, and how often
}

type searchLine struct {
	Number int    `json:"number"`
	Text   string `json:"text"`
	Match  bool   `json:"match,omitempty"`
}

type searchFile struct {
	Path    string       `json:"path"`
	Matches int          `json:"matches"`
	Lines   []searchLine `json:"lines,omitempty"`
}

// search is one look through the files.
type search struct {
	request  *searchRequest
	root     string
	matches  func(line []byte) bool
	literal  []byte // stands in every match; nil where none is known
	include  []*regexp.Regexp
	exclude  []*regexp.Regexp
	deadline time.Time
	files    chan string
	lock     sync.Mutex
	found    []searchFile
	kept     int
	searched atomic.Int64
	binary   atomic.Int64
	large    atomic.Int64
	ignored  int
	late     atomic.Bool
}

func (a *agent) searchFiles(w http.ResponseWriter, r *http.Request) error {
	var request searchRequest
	if err := decode(r.Body, &request); err != nil {
		return err
	}
	if request.Limit < 1 || request.Limit > maxSearchResults || request.Context < 0 || request.Context > 20 ||
		len(request.Globs) > maxSearchGlobs || len(request.Pattern) > maxSearchPattern {
		return fail(400, "bad_request", "A search has a limit of 1 to %d, at most 20 lines of context, %d globs and a pattern of %d bytes.", maxSearchResults, maxSearchGlobs, maxSearchPattern)
	}
	root, name, info, err := found(a.root, request.Path, true)
	if err != nil {
		return err
	}
	defer root.Close()
	s := &search{request: &request, root: a.workspace, deadline: time.Now().Add(searchTime), files: make(chan string, 256)}
	if err := s.prepare(); err != nil {
		return err
	}
	var workers sync.WaitGroup
	for range max(2, runtime.NumCPU()) {
		workers.Go(s.work)
	}
	if name == "." {
		name = ""
	}
	if info.IsDir() {
		s.walk(name, s.rulesAbove(name))
	} else if s.chosen(name) {
		s.files <- name
	}
	close(s.files)
	workers.Wait()
	sort.Slice(s.found, func(i, j int) bool { return s.found[i].Path < s.found[j].Path })
	if s.found == nil {
		s.found = []searchFile{}
	}
	writeJSON(w, 200, map[string]any{
		"files": s.found, "searched": s.searched.Load(), "binary": s.binary.Load(), "large": s.large.Load(),
		"ignored": s.ignored, "late": s.late.Load(),
	})
	return nil
}

func (s *search) prepare() error {
	for _, glob := range s.request.Globs {
		list := &s.include
		if strings.HasPrefix(glob, "!") {
			list, glob = &s.exclude, glob[1:]
		}
		glob = strings.TrimPrefix(strings.TrimPrefix(glob, "/workspace"), "./")
		expression := globExpression(strings.TrimPrefix(glob, "/"), true)
		if !strings.Contains(glob, "/") {
			expression = "(?:.*/)?" + expression
		}
		pattern, err := regexp.Compile("^" + expression + "(?:/.*)?$")
		if err != nil || glob == "" {
			return fail(422, "bad_pattern", "%q is no glob.", glob)
		}
		*list = append(*list, pattern)
	}
	if s.request.Pattern == "" {
		return nil
	}
	text := s.request.Pattern
	if s.request.Literal {
		if !s.request.IgnoreCase {
			s.literal = []byte(text)
			s.matches = func(line []byte) bool { return bytes.Contains(line, s.literal) }
			return nil
		}
		text = regexp.QuoteMeta(text)
	}
	if s.request.IgnoreCase {
		text = "(?i)" + text
	}
	pattern, err := regexp.Compile(text)
	if err != nil {
		return fail(422, "bad_pattern", "The pattern is no regular expression in Go's syntax (RE2): %s.", strings.TrimPrefix(err.Error(), "error parsing regexp: "))
	}
	if parsed, err := syntax.Parse(text, syntax.Perl); err == nil {
		s.literal = requiredLiteral(parsed.Simplify())
	}
	s.matches = pattern.Match
	return nil
}

// requiredLiteral is the longest text that stands in every match of an expression; nil where none is known.
func requiredLiteral(re *syntax.Regexp) []byte {
	switch re.Op {
	case syntax.OpLiteral:
		if re.Flags&syntax.FoldCase == 0 {
			return []byte(string(re.Rune))
		}
	case syntax.OpCapture, syntax.OpPlus:
		return requiredLiteral(re.Sub[0])
	case syntax.OpRepeat:
		if re.Min > 0 {
			return requiredLiteral(re.Sub[0])
		}
	case syntax.OpConcat:
		var best []byte
		for _, sub := range re.Sub {
			if found := requiredLiteral(sub); len(found) > len(best) {
				best = found
			}
		}
		return best
	}
	return nil
}

// rulesAbove are the ignore rules that hold in a directory that the search begins in.
func (s *search) rulesAbove(directory string) *ignoreRules {
	rules := readIgnoreRules(s.root, "", nil, ".git/info/exclude")
	if directory == "" {
		return rules
	}
	at := ""
	for _, part := range strings.Split(directory, "/") {
		rules = readIgnoreRules(s.root, at, rules, ".gitignore")
		at = strings.TrimPrefix(at+"/"+part, "/")
	}
	return rules
}

func (s *search) walk(directory string, rules *ignoreRules) {
	entries, err := os.ReadDir(filepath.Join(s.root, directory))
	if err != nil || s.over() {
		return
	}
	rules = readIgnoreRules(s.root, directory, rules, ".gitignore")
	for _, entry := range entries {
		base := entry.Name()
		name := base
		if directory != "" {
			name = directory + "/" + base
		}
		if base == ".git" || strings.HasPrefix(base, stagePrefix) {
			continue
		}
		if !s.request.IncludeIgnored && (rules.ignored(name, entry.IsDir()) || entry.IsDir() && plainlyMade(s.root, name)) {
			s.ignored++
			continue
		}
		switch {
		case entry.IsDir():
			s.walk(name, rules)
		case entry.Type().IsRegular() && s.chosen(name):
			s.files <- name
		case s.matches == nil && s.chosen(name):
			s.files <- name // a link or a pipe has a name, too
		}
	}
}

func (s *search) over() bool {
	if time.Now().After(s.deadline) {
		s.late.Store(true)
	}
	return s.late.Load()
}

func (s *search) chosen(name string) bool {
	for _, pattern := range s.exclude {
		if pattern.MatchString(name) {
			return false
		}
	}
	for _, pattern := range s.include {
		if pattern.MatchString(name) {
			return true
		}
	}
	return len(s.include) == 0
}

func (s *search) work() {
	var buffer []byte
	for name := range s.files {
		if s.late.Load() {
			continue
		}
		s.searched.Add(1)
		if s.matches == nil {
			s.keep(searchFile{Path: name})
			continue
		}
		content := s.read(name, &buffer)
		if content == nil || (s.literal != nil && !bytes.Contains(content, s.literal)) {
			continue
		}
		if found := s.look(name, content); found.Matches > 0 {
			s.keep(found)
		}
		s.over()
	}
}

func (s *search) read(name string, buffer *[]byte) []byte {
	fd, err := syscall.Open(filepath.Join(s.root, name), syscall.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK|syscall.O_CLOEXEC, 0)
	if err != nil {
		return nil
	}
	defer syscall.Close(fd)
	if cap(*buffer) == 0 {
		*buffer = make([]byte, 64<<10)
	}
	whole := (*buffer)[:cap(*buffer)]
	size := 0
	for {
		n, err := syscall.Read(fd, whole[size:])
		if err == syscall.EINTR {
			continue
		}
		if n <= 0 || err != nil {
			break
		}
		if size == 0 && bytes.IndexByte(whole[:min(n, sniffed)], 0) >= 0 {
			s.binary.Add(1)
			return nil
		}
		if size += n; size > maxSearchFile {
			s.large.Add(1)
			return nil
		}
		if size == len(whole) {
			whole = append(whole, make([]byte, len(whole))...)
			*buffer = whole
		}
	}
	return whole[:size]
}

// look finds the lines of a file that match, with their context.
func (s *search) look(name string, content []byte) searchFile {
	found := searchFile{Path: name}
	if !s.request.LinesWanted {
		for line := range lines(content) {
			if s.matches(line) {
				found.Matches++
			}
		}
		return found
	}
	var before []searchLine // lines of context that may come to be shown
	number, after := 0, 0
	for line := range lines(content) {
		number++
		hit := s.matches(line)
		if hit {
			found.Matches++
		}
		switch {
		case len(found.Lines) >= s.request.Limit*(2*s.request.Context+1):
		case hit:
			found.Lines = append(append(found.Lines, before...), searchLine{number, shortened(line), true})
			before, after = nil, s.request.Context
		case after > 0:
			after--
			found.Lines = append(found.Lines, searchLine{number, shortened(line), false})
		case s.request.Context > 0:
			if len(before) == s.request.Context {
				before = before[1:]
			}
			before = append(before, searchLine{number, shortened(line), false})
		}
	}
	return found
}

// lines are the lines of a text without their ends.
func lines(content []byte) func(yield func([]byte) bool) {
	return func(yield func([]byte) bool) {
		for len(content) > 0 {
			line := content
			if end := bytes.IndexByte(content, '\n'); end >= 0 {
				line, content = content[:end], content[end+1:]
			} else {
				content = nil
			}
			if !yield(bytes.TrimSuffix(line, []byte("\r"))) {
				return
			}
		}
	}
}

func shortened(line []byte) string {
	if len(line) > maxSearchLine {
		return strings.ToValidUTF8(string(line[:maxSearchLine]), "\uFFFD") + "…"
	}
	return strings.ToValidUTF8(string(line), "\uFFFD")
}

func (s *search) keep(found searchFile) {
	s.lock.Lock()
	defer s.lock.Unlock()
	for _, line := range found.Lines {
		s.kept += len(line.Text)
	}
	if s.kept > maxSearchBytes {
		found.Lines = nil
	}
	s.found = append(s.found, found)
}
