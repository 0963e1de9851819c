package worker

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"path/filepath"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"pgo/internal/dropin"
	"pgo/proto"
	"pgo/worker/gitrepo"
)

// Bounds of a configuration in git, all of which is sent in one message.
const (
	maxConfigFile  = 1 << 20
	maxConfigFiles = 1000
	maxConfigBytes = 3 << 20
)

// configuration follows the branch of a configuration in git.
type configuration struct {
	mu   sync.Mutex // held during a fetch; guards repo
	repo *gitrepo.Repo
}

// Fetch fetches the branch and returns the configuration files of its head.
func (w *Worker) Fetch(ctx context.Context, request *proto.FetchRequest) (*proto.FetchReply, error) {
	select {
	case <-w.configured:
	default:
		return nil, status.Error(codes.FailedPrecondition, "the worker is not configured yet")
	}
	if w.cfg.GetPurpose() != proto.ConfigureRequest_PURPOSE_CONFIGURATION {
		return nil, status.Error(codes.FailedPrecondition, "this worker was not started to fetch a configuration")
	}
	ctx, done, err := w.begin(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	reply, err := w.configuration.fetch(ctx, w.cfg, request)
	if err != nil {
		return nil, status.Error(codes.Unknown, text(err.Error()))
	}
	return reply, nil
}

func (c *configuration) fetch(ctx context.Context, cfg *proto.ConfigureRequest, request *proto.FetchRequest) (*proto.FetchReply, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, time.Duration(cfg.GetTimeoutMs())*time.Millisecond)
	defer cancel()
	if c.repo == nil {
		repo, err := gitrepo.Open(filepath.Join(cfg.GetDir(), "repo.git"), remote(cfg), cfg.GetBranch())
		if err != nil {
			return nil, err
		}
		c.repo = repo
	}
	head, err := c.update(ctx)
	if errors.Is(err, gitrepo.ErrNoBranch) {
		err = fmt.Errorf("%w (the branch is set in [upstream], or by ?ref= in --config)", err)
	}
	if err != nil {
		return nil, err
	}
	info, err := c.repo.Commit(head)
	if err != nil {
		return nil, err
	}
	files, err := c.files(head, request.GetMain(), request.GetDropins())
	if err != nil {
		return nil, err
	}
	return &proto.FetchReply{Commit: head.String(), Author: text(info.Author), Subject: text(info.Subject), Files: files}, nil
}

// update fetches the head and keeps the repository small. One that turns out to be damaged is
// fetched once more.
func (c *configuration) update(ctx context.Context) (head gitrepo.Hash, err error) {
	for range 2 {
		var moved bool
		if head, moved, err = (gitrepo.Follower{Repo: c.repo}).Update(ctx); err != nil || !moved {
			return head, err
		}
		if err = c.repo.Compact(ctx); !errors.Is(err, gitrepo.ErrDamaged) {
			return head, err
		}
		if e := c.repo.Rebuild(); e != nil {
			return head, errors.Join(err, e)
		}
	}
	return head, err
}

// files returns the main file and the drop-in files.
func (c *configuration) files(head gitrepo.Hash, main, dropins string) ([]*proto.File, error) {
	names := []string{main}
	more, err := c.repo.Names(head, dropins)
	if err != nil {
		return nil, err
	}
	for _, name := range more {
		if dropin.Counts(name) {
			names = append(names, path.Join(dropins, name))
		}
	}
	if len(names) > maxConfigFiles {
		return nil, fmt.Errorf("%s has more than %d files", dropins, maxConfigFiles)
	}
	var files []*proto.File
	size := 0
	for _, name := range names {
		content, err := c.repo.File(head, name, maxConfigFile)
		if errors.Is(err, fs.ErrNotExist) {
			err = fmt.Errorf("%w; correct `path` in [upstream], or the part after // in --config", err)
		}
		if err != nil {
			return nil, err
		}
		if size += len(content); size > maxConfigBytes {
			return nil, fmt.Errorf("the configuration in commit %s is larger than %d MiB", head, maxConfigBytes>>20)
		}
		files = append(files, &proto.File{Path: text(name), Content: content})
	}
	return files, nil
}
