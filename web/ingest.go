package web

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"reflect"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"golang.org/x/time/rate"

	"github.com/kelvin-ml/kelvin/run"
)

// Limits of what writers elsewhere may send.
const (
	maxBatch  = 8 << 20 // bytes of records in a request
	maxBodies = 8       // batches that are read into memory at one time
	maxOpen   = 256     // runs that are being written at one time
	idleAfter = 30 * time.Second

	batchRate, batchBurst = 20, 40 // requests a second to one run
)

// A writer is a run that is open for records from elsewhere.
type writer struct {
	users int       // requests that have it; under the mutex of the store
	used  time.Time // likewise

	rate *rate.Limiter
	mu   sync.Mutex
	run  *run.Run // nil until it is needed
}

// close closes the run. The caller holds w.mu, or nobody else uses w.
func (w *writer) close() {
	if w.run != nil {
		w.run.Close()
		w.run = nil
	}
}

// An offsetDocument answers POST /api/records.
type offsetDocument struct {
	Schema string `json:"schema"`
	Offset int64  `json:"offset" doc:"bytes of the writer's stream that are safe here: go on from there"`
	Detail string `json:"detail,omitempty"`
}

// ingest takes records: the body is a piece of the writer's own events.jsonl, whole
// lines from the byte offset that the query names. The length of the file here is
// therefore all that both sides need to know: what is here already is skipped, what
// is missing is asked for (409 with the offset to go on from), and nothing is lost
// or doubled whichever side is killed.
func (s *Server) ingest(w http.ResponseWriter, r *http.Request) {
	offset, err := s.take(w, r)
	var gap *gapError
	switch {
	case err == nil:
		w.Header().Set("Content-Type", "application/json")
		json.NewEncoder(w).Encode(offsetDocument{Schema: schema, Offset: offset})
		return
	case errors.As(err, &gap):
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusConflict)
		json.NewEncoder(w).Encode(offsetDocument{schema, gap.have, err.Error()})
		return
	}
	s.count.refused.Add(1)
	refuse(w, err)
}

// A gapError says where a writer has to go on.
type gapError struct{ have, sent int64 }

func (e *gapError) Error() string {
	return fmt.Sprintf("the records here end at byte %d, those sent begin at %d: go on from %d", e.have, e.sent, e.have)
}

func (s *Server) take(w http.ResponseWriter, r *http.Request) (int64, error) {
	q := r.URL.Query()
	id := q.Get("run")
	if id == "." {
		return 0, huma.Error422UnprocessableEntity("expected the run to have a name")
	}
	dir, err := s.store.path(id)
	if err != nil {
		return 0, huma.Error422UnprocessableEntity(err.Error())
	}
	offset, err := strconv.ParseInt(q.Get("offset"), 10, 64)
	if err != nil || offset < 0 {
		return 0, huma.Error422UnprocessableEntity(fmt.Sprintf("offset %q: expected the number of bytes before the records", q.Get("offset")))
	}
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/x-ndjson" {
		return 0, huma.Error415UnsupportedMediaType("expected the content type application/x-ndjson")
	}
	leave, err := s.bodies.enter(r.Context())
	if err != nil {
		return 0, err
	}
	defer leave()
	to, done, err := s.store.writer(id)
	if err != nil {
		return 0, err
	}
	defer done()
	if !to.rate.Allow() { // before anything is read
		w.Header().Set("Retry-After", "1")
		return 0, huma.Error429TooManyRequests(fmt.Sprintf("expected at most %d batches a second to one run: send larger ones", batchRate))
	}
	lines, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBatch))
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		return 0, huma.Error413RequestEntityTooLarge(fmt.Sprintf("expected at most %d bytes of records", maxBatch))
	case errors.Is(err, os.ErrDeadlineExceeded):
		return 0, huma.NewError(http.StatusRequestTimeout, fmt.Sprintf("expected all the records within %v", s.bodyTime))
	case err != nil:
		return 0, huma.Error400BadRequest("reading the records: " + err.Error())
	}
	to.mu.Lock()
	defer to.mu.Unlock()
	if _, err := os.Stat(filepath.Join(dir, "model.json")); err != nil {
		to.close() // its folder was taken away
	}
	if to.run == nil {
		if to.run, err = open(dir); err != nil {
			return 0, err
		}
	}
	size, added, err := add(to.run, offset, lines)
	if err == nil {
		s.count.records.Add(int64(bytes.Count(added, []byte("\n"))))
		s.count.bytes.Add(int64(len(added)))
	}
	return size, err
}

// add appends lines, which begin at an offset of the writer's stream, without what
// is there already. It returns the offset to go on from.
func add(to *run.Run, offset int64, lines []byte) (size int64, added []byte, err error) {
	if size, err = to.Size(); err != nil {
		return 0, nil, err
	}
	if offset > size {
		return 0, nil, &gapError{size, offset}
	}
	known := min(size-offset, int64(len(lines)))
	there := make([]byte, known)
	if _, err := to.ReadAt(there, offset); err != nil {
		return 0, nil, fmt.Errorf("comparing records: %w", err)
	}
	if !bytes.Equal(there, lines[:known]) {
		return 0, nil, huma.Error422UnprocessableEntity(fmt.Sprintf("other records are here from byte %d on: another writer has this run. Choose another name", offset))
	}
	if lines = lines[known:]; len(lines) == 0 {
		return size, nil, nil
	}
	var bad *run.LineError
	switch err = to.AppendLines(lines); {
	case errors.As(err, &bad):
		return 0, nil, huma.Error422UnprocessableEntity(fmt.Sprintf("line %d of the records: %v", bad.Line, bad.Err))
	case err != nil:
		return 0, nil, huma.NewError(http.StatusInsufficientStorage, err.Error())
	}
	return size + int64(len(lines)), lines, nil
}

// open opens a run that a writer elsewhere created.
func open(dir string) (*run.Run, error) {
	r, _, err := run.Open(dir)
	switch {
	case errors.Is(err, run.ErrNotRun):
		return nil, huma.Error404NotFound("no such run: create it with PUT /api/run")
	case err != nil:
		return nil, huma.Error423Locked(err.Error())
	}
	return r, nil
}

// A createInput is the request PUT /api/run.
type createInput struct {
	Run  string `query:"run" required:"true" doc:"id of the run: a path below the folder that is served"`
	Body model
}

// A model is a model.json.
type model struct{ json.RawMessage }

// Schema implements huma.SchemaProvider.
func (model) Schema(huma.Registry) *huma.Schema {
	return &huma.Schema{Type: huma.TypeObject, Description: "its model.json", AdditionalProperties: true}
}

// create makes a run for records from elsewhere, or finds it there already: the
// same request may come again.
func (s *Server) create(ctx context.Context, in *createInput) (*body[offsetDocument], error) {
	dir, err := s.store.path(in.Run)
	if err != nil || in.Run == "." {
		return nil, huma.Error422UnprocessableEntity(cmp.Or(err, errors.New("expected the run to have a name")).Error())
	}
	// The list of runs does not look into a run.
	for above := in.Run; above != "."; {
		above = path.Dir(above)
		if _, err := os.Stat(filepath.Join(s.store.root, above, "model.json")); err == nil {
			return nil, huma.Error422UnprocessableEntity(fmt.Sprintf("run %q: %q is a run: expected a path beside it", in.Run, above))
		}
	}
	to, done, err := s.store.writer(in.Run)
	if err != nil {
		return nil, err
	}
	defer done()
	to.mu.Lock()
	defer to.mu.Unlock()
	var there any
	switch err = run.Model(dir, &there); {
	case errors.Is(err, run.ErrNotRun):
		to.close()
		to.run, err = run.Create(dir, in.Body)
		if errors.Is(err, syscall.ENOSPC) {
			return nil, huma.NewError(http.StatusInsufficientStorage, err.Error())
		}
		if err != nil {
			return nil, huma.Error422UnprocessableEntity(err.Error())
		}
	case err != nil:
		return nil, huma.Error422UnprocessableEntity(err.Error())
	default:
		var sent any
		if err := json.Unmarshal(in.Body.RawMessage, &sent); err != nil {
			return nil, huma.Error422UnprocessableEntity(err.Error())
		}
		if !reflect.DeepEqual(sent, there) {
			return nil, huma.Error422UnprocessableEntity(fmt.Sprintf("run %q is here with another model.json: choose another name", in.Run))
		}
	}
	if to.run == nil {
		if to.run, err = open(dir); err != nil {
			return nil, err
		}
	}
	d := offsetDocument{Schema: schema}
	d.Offset, err = to.run.Size()
	return &body[offsetDocument]{d}, err
}

// writer returns the writer of a run, which stays open until done.
func (s *store) writer(id string) (w *writer, done func(), err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	w = s.writers[id]
	if w == nil {
		if len(s.writers) >= maxOpen {
			return nil, nil, huma.Error429TooManyRequests(fmt.Sprintf("%d runs are being written: wait until one ends", maxOpen))
		}
		w = &writer{rate: rate.NewLimiter(batchRate, batchBurst)}
		s.writers[id] = w
	}
	w.users++
	return w, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		w.users--
		w.used = time.Now()
		if w.run == nil && w.users == 0 {
			delete(s.writers, id)
		}
	}, nil
}

// rest closes the runs that no records came for.
func (s *store) rest() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, w := range s.writers {
		if w.users == 0 && time.Since(w.used) > idleAfter {
			delete(s.writers, id)
			w.close()
		}
	}
}

// name returns the name of the folder.
func (s *store) name() string { return filepath.Base(s.root) }
