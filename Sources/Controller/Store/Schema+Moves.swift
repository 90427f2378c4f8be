extension Schema {
    /// A node that is drained has `drain`, as JSON. `last_stay` is the highest number that any stay of the project got. `remains` are
    /// what nodes may have of stays that do not count; the one of a move that is under way does not count yet.
    static let moves = """
        ALTER TABLE nodes ADD COLUMN drain TEXT;
        ALTER TABLE nodes ADD COLUMN told_state TEXT;
        ALTER TABLE nodes ADD COLUMN told_at INTEGER;
        CREATE INDEX nodes_draining ON nodes (id) WHERE drain IS NOT NULL;
        ALTER TABLE projects ADD COLUMN last_stay INTEGER NOT NULL DEFAULT 0;
        ALTER TABLE projects ADD COLUMN move_state TEXT CHECK (move_state IN ('copying', 'switching'));
        ALTER TABLE projects ADD COLUMN move_node TEXT REFERENCES nodes;
        ALTER TABLE projects ADD COLUMN move_stay INTEGER;
        ALTER TABLE projects ADD COLUMN move_snapshot TEXT;
        ALTER TABLE projects ADD COLUMN move_resting_since INTEGER;
        ALTER TABLE projects ADD COLUMN move_since INTEGER;
        CREATE INDEX projects_moving ON projects (move_snapshot, id) WHERE move_snapshot IS NOT NULL;
        CREATE TABLE remains (
            node_id TEXT NOT NULL REFERENCES nodes,
            project_id TEXT NOT NULL,
            stay INTEGER NOT NULL,
            workspace_id TEXT NOT NULL REFERENCES workspaces,
            since INTEGER NOT NULL,
            PRIMARY KEY (node_id, project_id, stay)
        ) STRICT, WITHOUT ROWID;
        """

    /// What is to be set aside is kept when that is done, for people.
    static let losses = """
        ALTER TABLE nodes ADD COLUMN lease_seconds INTEGER;
        ALTER TABLE remains ADD COLUMN kind TEXT NOT NULL DEFAULT 'remove' CHECK (kind IN ('remove', 'set_aside'));
        ALTER TABLE remains ADD COLUMN project_name TEXT NOT NULL DEFAULT '';
        ALTER TABLE remains ADD COLUMN done_at INTEGER;
        ALTER TABLE remains ADD COLUMN path TEXT;
        CREATE INDEX remains_by_project ON remains (project_id);
        """
}
