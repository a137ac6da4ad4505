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
	store, err := newStore(root)
	if err != nil {
		return nil, err
	}
	s := &Server{store: store, hub: newHub(), analyses: newAnalyses(), token: token, mux: http.NewServeMux()}
	config := huma.DefaultConfig("kelvin", "1")
	config.DocsPath, config.SchemasPath, config.CreateHooks = "", "", nil // its page of documentation would load scripts from elsewhere
	config.Info.Description = "The runs of a folder: their records summed up for plotting, their findings, and a way to write them from elsewhere."
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

// watch looks at the runs every second, tells the pages what changed, and keeps
// the indexes of runs that grow up to date, so that opening them takes no time.
func (s *Server) watch(ctx context.Context) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		changed, err := s.store.scan()
		s.hub.send(changed, err)
		s.store.rest()
		for _, id := range changed {
			if ctx.Err() != nil {
				return
			}
			s.store.warm(id)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}
