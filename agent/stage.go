package main

import (
	"net/http"
	"os"
	"path"
	"regexp"
	"strings"
)

// What is too much for one request is staged first, in as many as it takes, and put in its places by one that names
// the stage: so that it is all or nothing, too.

const manyPrefix = stagePrefix + "many-"

var (
	stageID    = regexp.MustCompile(`^[0-9a-f]{16}$`)
	stagedName = regexp.MustCompile(`^[0-9]{1,6}$`)
)

type stageRequest struct {
	Stage string       `json:"stage"`
	Files []stagedFile `json:"files"`
	// Drop removes the stage instead.
	Drop bool `json:"drop"`
}

type stagedFile struct {
	Name    string `json:"name"`
	Content []byte `json:"content"`
}

func stageDir(id string) (string, error) {
	if !stageID.MatchString(id) {
		return "", fail(400, "bad_request", "A stage is named by 16 hexadecimal digits.")
	}
	return manyPrefix + id, nil
}

func (a *agent) stageFiles(w http.ResponseWriter, r *http.Request) error {
	var request stageRequest
	if err := decode(r.Body, &request); err != nil {
		return err
	}
	dir, err := stageDir(request.Stage)
	if err != nil {
		return err
	}
	size := 0
	for _, file := range request.Files {
		size += len(file.Content)
		if !stagedName.MatchString(file.Name) {
			return fail(400, "bad_request", "A staged file is named by a number.")
		}
	}
	if len(request.Files) > maxChanges || size > maxContent {
		return fail(413, "too_large", "A request holds at most %d files with at most %d bytes.", maxChanges, maxContent)
	}
	root, release, err := a.alone()
	if err != nil {
		return err
	}
	defer release()
	if request.Drop {
		return done(w, root.RemoveAll(dir))
	}
	if _, err := root.Lstat(dir); err != nil {
		dropStages(root) // those that a daemon left that was killed
		if err := root.Mkdir(dir, 0o700); err != nil {
			return fileError(err, ".")
		}
	}
	for _, file := range request.Files {
		if err := root.WriteFile(path.Join(dir, file.Name), file.Content, 0o600); err != nil {
			return fileError(err, ".")
		}
	}
	return done(w, nil)
}

func done(w http.ResponseWriter, err error) error {
	if err != nil {
		return fileError(err, ".")
	}
	writeJSON(w, 200, map[string]any{"ok": true})
	return nil
}

func dropStages(root *os.Root) {
	d, err := root.Open(".")
	if err != nil {
		return
	}
	defer d.Close()
	names, _ := d.Readdirnames(-1)
	for _, name := range names {
		if strings.HasPrefix(name, manyPrefix) {
			root.RemoveAll(name)
		}
	}
}
