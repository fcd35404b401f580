package storage

import "context"

// SubjectSalt implements oidc.SubjectStore.
func (s *Store) SubjectSalt(ctx context.Context) ([]byte, error) {
	var sealed []byte
	err := s.queryRow(ctx, `SELECT sealed FROM subject_salt WHERE id = 1`).Scan(&sealed)
	return sealed, classify(err, "")
}

// CreateSubjectSalt implements oidc.SubjectStore.
func (s *Store) CreateSubjectSalt(ctx context.Context, sealed []byte) error {
	return classify(s.conn(ctx).Exec(`INSERT INTO subject_salt (id, sealed) VALUES (1, ?) ON CONFLICT (id) DO NOTHING`, sealed).Error, "")
}
