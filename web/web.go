// Package web serves the dashboard: the runs of a folder, live, in a browser, and
// takes the records of writers elsewhere. docs/dashboard.md is its manual, and
// /openapi.json describes its interface.
package web

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/kelvin-ml/kelvin/report"
)

// A Server shows the runs below a folder.
type Server struct {
	store    *store
	hub      *hub
	analyses *analyses
	token    string
	mux      *http.ServeMux
	count    counters
	bodies   slots
	exports  slots
	bodyTime time.Duration // for the body of a request
}

// New returns a server of the runs in root and the folders below it. With a token
// every request must bring it; without one the server answers only to names of
// this machine.
func New(root, token string) (*Server, error) {
	info, err := os.Stat(root)
	if err != nil {
		return nil, fmt.Errorf("serving runs: %w", err)
	}
	if !info.IsDir() {
		return nil, fmt.Errorf("serving runs: %s is a file: expected a folder with runs in it", root)
	}
	if token != "" && len(token) < 16 {
		return nil, fmt.Errorf("serving runs: the token has %d characters: expected at least 16", len(token))
	}
	for i, c := range token { // clients write others in several ways, and cut spaces off
		if c < ' ' || c > '~' || c == ' ' && (i == 0 || i == len(token)-1) {
			return nil, fmt.Errorf("serving runs: the token has %q at byte %d: expected letters, digits and signs of ASCII, and no space at an end", c, i)
		}
	}
	store, err := newStore(root)
	if err != nil {
		return nil, err
	}
	hub := newHub()
	s := &Server{store: store, hub: hub, analyses: newAnalyses(func(id string) { hub.send([]string{id}, nil) }), token: token, mux: http.NewServeMux(),
		bodies: make(slots, maxBodies), exports: make(slots, maxExports), bodyTime: time.Minute}
	config := huma.DefaultConfig("kelvin", "1")
	config.DocsPath, config.SchemasPath, config.CreateHooks = "", "", nil // its page of documentation would load scripts from elsewhere
	config.Info.Description = "The runs of a folder: their records summed up for plotting, their findings, and a way to write them from elsewhere."
	secure(&config)
	s.routes(humago.New(s.mux, config))
	s.mux.HandleFunc("GET /api/changes", s.changes)
	s.mux.HandleFunc("GET /api/series.csv", s.csv)
	s.mux.HandleFunc("GET /api/report", s.export)
	s.mux.HandleFunc("POST /api/records", s.ingest)
	s.mux.Handle("GET /metrics", s.metrics())
	s.mux.Handle("GET /", http.FileServerFS(report.Files()))
	return s, nil
}

// Serve answers on l until ctx ends, and looks for changes meanwhile.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	server := &http.Server{
		Handler:           s.guard(s.mux),
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    1 << 16,
		BaseContext:       func(net.Listener) context.Context { return ctx },
	}
	watching := make(chan struct{})
	go func() {
		defer close(watching)
		s.watch(ctx)
	}()
	stopped := context.AfterFunc(ctx, func() {
		wait, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		defer cancel()
		server.Shutdown(wait)
	})
	defer stopped()
	err := server.Serve(l)
	<-watching
	s.analyses.close()
	s.store.close()
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

// watch looks at the runs every second and tells the pages what changed. Beside it
// the indexes of runs that changed are brought up to date, so that opening them
// takes no time, and their temperatures are read.
func (s *Server) watch(ctx context.Context) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	read, reading := make(chan []string), false
	waiting := map[string]bool{}
	for _, item := range s.store.list() {
		waiting[item.ID] = true
	}
	for {
		changed, err := s.store.scan()
		s.hub.send(changed, err)
		s.store.rest()
		for _, id := range changed {
			waiting[id] = true
		}
		if !reading && len(waiting) > 0 {
			var ids []string // those that changed last first
			for _, item := range s.store.list() {
				if waiting[item.ID] {
					ids = append(ids, item.ID)
				}
			}
			clear(waiting)
			reading = true
			go func() { read <- s.read(ctx, ids) }()
		}
		select {
		case <-ctx.Done():
			if reading {
				<-read
			}
			return
		case heated := <-read:
			reading = false
			s.hub.send(heated, nil)
		case <-tick.C:
		}
	}
}

// read brings the indexes of runs up to date, and returns those whose temperature
// is another than before.
func (s *Server) read(ctx context.Context, ids []string) (heated []string) {
	told := time.Now()
	for _, id := range ids {
		if ctx.Err() != nil {
			break
		}
		if s.store.warm(id) {
			heated = append(heated, id)
		}
		if time.Since(told) > time.Second { // of a thousand runs the first need not wait for the last
			s.hub.send(heated, nil)
			heated, told = nil, time.Now()
		}
	}
	return heated
}
