import ArgumentParser
import FastableCore

/// The command line over the public API: it holds no logic of its own beyond asking and showing.
@main
struct CLI: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "fastable",
        abstract: "Work in Fastable projects: each has one persistent Linux container.",
        discussion: """
            Begin with:
              fastable login --url http://127.0.0.1:7420 --token-file admin.token
              fastable project create shop --git https://github.com/example/shop.git
              fastable exec shop -- npm test
              fastable fs read shop README.md

            Exit status: 0 success, 1 the request failed, 64 wrong usage, 69 controller or node not reachable,
            77 not allowed. ‘exec’ exits with the command's own status, 124 when its time ran out, 125 when Fastable
            itself failed, 128 + n when signal n ended the command.

            Completions: fastable --generate-completion-script bash | zsh | fish
            """,
        version: Version.text,
        subcommands: [
            LoginCommand.self, LogoutCommand.self, StatusCommand.self, ProjectCommand.self, ExecCommand.self,
            AttachCommand.self, PsCommand.self, KillCommand.self,
            FileCommand.self, PushCommand.self, PullCommand.self, NodeCommand.self, ImageCommand.self,
            TokenCommand.self, AuditCommand.self,
        ])
}
