#!/usr/bin/env bash
# Checks the catalogue in $CATALOGUE without its environment. With PLAN=true it plans as well, and writes the plan as a
# comment on $PULL_REQUEST of $REPOSITORY, where GH_TOKEN may; else into the job's summary. Ends with 1 where the
# catalogue is wrong, the plan has trouble or can't be made, or the comment can't be written.
set -euo pipefail

MARK='<!-- keyturn plan -->'
MOST=60000 # characters of a comment; GitHub takes 65,536

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

keyturn catalogue validate --no-environment "$CATALOGUE"
[ "${PLAN:-false}" = true ] || exit 0

ended=0
COLUMNS=120 keyturn plan --catalogue "$CATALOGUE" >"$work/plan" 2>&1 || ended=$?

# The plan's words come from the pull request and from stores: inside the fence they are text, and can't end it.
{
    printf '%s\n' "$MARK"
    case $ended in
    0) printf 'What merging this would do to the copies:\n\n' ;;
    *) printf 'The plan has trouble, or could not be made (`keyturn plan` ended with %s):\n\n' "$ended" ;;
    esac
    printf '~~~~text\n'
    sed 's/~~~/~ ~ ~/g' "$work/plan" | cut -c 1-400 >"$work/text"
    head -c "$MOST" "$work/text"
    [ "$(wc -c <"$work/text")" -le "$MOST" ] || printf '\n... and more: see the log of this job'
    printf '\n~~~~\n'
} >"$work/comment"
cat "$work/plan"

if [ -z "${GH_TOKEN:-}" ] || [ -z "${PULL_REQUEST:-}" ]; then
    cat "$work/comment" >>"${GITHUB_STEP_SUMMARY:-/dev/null}"
    exit "$ended"
fi

comments="repos/$REPOSITORY/issues/$PULL_REQUEST/comments"
mine=".[] | select(.user.type == \"Bot\" and (.body | startswith(\"$MARK\"))) | .id"
before=$(gh api "$comments" --paginate --jq "$mine" | sed -n 1p)
if [ -n "$before" ]; then
    gh api --silent -X PATCH "repos/$REPOSITORY/issues/comments/$before" -F "body=@$work/comment"
else
    gh api --silent -X POST "$comments" -F "body=@$work/comment"
fi
exit "$ended"
