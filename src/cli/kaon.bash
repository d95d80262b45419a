# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# bash completion for kaon(1)
#
# Names of functions come from guests, which may hold anything: they are never
# expanded by the shell, as compgen -W would, and are quoted on insertion.

# Offers those of the words after "--" that begin with the current word.
_kaon_offer() {
    local word
    for word; do
        if [[ $word == "$cur"* ]]; then
            COMPREPLY+=("$word")
        fi
    done
}

# Offers directories, and files that match the pattern $1, or all.
_kaon_files() {
    local file
    compopt -o filenames 2>/dev/null
    while IFS= read -r file; do
        # shellcheck disable=SC2053 # $1 is a pattern
        if [[ -d $file || $file == ${1:-*} ]]; then
            COMPREPLY+=("$file")
        fi
    done < <(compgen -f -- "$cur")
}

# The functions of the guest $1. The guest is read, not run.
_kaon_functions() {
    local -a names
    local name
    mapfile -t names < <("${COMP_WORDS[0]}" inspect --names -- "$1" 2>/dev/null)
    for name in "${names[@]}"; do
        if [[ $name == "$cur"* ]]; then
            COMPREPLY+=("$(printf '%q' "$name")")
        fi
    done
}

# Passes over the value of the option at $i. Bash splits words at "=": what is
# behind one is left to the loop.
_kaon_skip() {
    if [[ ${COMP_WORDS[i + 1]} != = ]]; then
        ((i++))
    fi
}

_kaon_run() {
    local i guest=
    if [[ $prev == --isolation ]]; then
        _kaon_offer vm process best
        return
    fi
    # The first word that is neither an option nor an option's value.
    for ((i = 2; i < COMP_CWORD; i++)); do
        case ${COMP_WORDS[i]} in
        --deadline | --isolation | --heap | --stack | --exchange) _kaon_skip ;;
        =) ((i++)) ;;
        -*) ;;
        *)
            guest=${COMP_WORDS[i]}
            break
            ;;
        esac
    done
    if [[ -z $guest ]]; then
        if [[ $cur == -* ]]; then
            _kaon_offer --json --verbose --deadline --isolation --heap --stack \
                --exchange --help
        else
            _kaon_files '*.elf'
        fi
    elif ((COMP_CWORD == i + 1)); then
        _kaon_functions "$guest"
    elif [[ $cur == @* ]]; then
        cur=${cur#@}
        _kaon_files
        COMPREPLY=("${COMPREPLY[@]/#/@}")
    fi
}

# Behind the subcommand's operands come a function's name and its arguments.
_kaon_snapshot() {
    local i guest=
    if ((COMP_CWORD == 2)); then
        _kaon_offer save run inspect --help
        return
    fi
    if [[ $prev == --isolation ]]; then
        _kaon_offer vm process best
        return
    fi
    for ((i = 3; i < COMP_CWORD; i++)); do
        case ${COMP_WORDS[i]} in
        --name | --deadline | --isolation | --heap | --stack | --exchange | \
            --map | --map-copy) _kaon_skip ;;
        =) ((i++)) ;;
        -*) ;;
        *)
            guest=${COMP_WORDS[i]}
            break
            ;;
        esac
    done
    if [[ -z $guest && ($cur == = || $prev == =) ]]; then
        # A file for a mapping, or a value of which nothing is known.
        cur=${cur#=}
        _kaon_files
        return
    fi
    case ${COMP_WORDS[2]}:$guest:$cur in
    save::-*)
        _kaon_offer --name --replace --map --map-copy --json --verbose \
            --deadline --isolation --heap --stack --exchange --help
        ;;
    save::*) _kaon_files '*.elf' ;;
    save:*)
        if ((COMP_CWORD == i + 1)); then
            _kaon_files
        elif ((COMP_CWORD == i + 2)); then
            _kaon_functions "$guest"
        fi
        ;;
    run::-*)
        _kaon_offer --name --skip-digests --map --json --verbose --deadline \
            --isolation --help
        ;;
    inspect::-*) _kaon_offer --name --skip-digests --json --help ;;
    run::* | inspect::*) _kaon_files ;;
    esac
}

_kaon_bench() {
    case $prev in
    --html) _kaon_files ;;
    --backend) _kaon_offer kvm process ;;
    --only)
        _kaon_offer call call_callback spinning_call resident_call \
            resident_callback batch_16 restore_call_1 restore_call_16 \
            restore_call_256 two_threads pool_call pool_call_resident \
            create_vm_first snapshot_open_first \
            create_in_domain create_in_domain_first create_from_64MiB \
            create_from_64MiB_first switch_1000 switch_from_64MiB echo_1KiB \
            echo_1MiB compute idle_kib_own idle_kib_shared idle_kib_from_64MiB
        ;;
    *) _kaon_offer --json --html --only --quick --backend --help ;;
    esac
}

_kaon() {
    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]}
    COMPREPLY=()
    if [[ $prev == = && ${COMP_WORDS[COMP_CWORD - 2]} == --* ]]; then
        prev=${COMP_WORDS[COMP_CWORD - 2]}
    fi
    if ((COMP_CWORD == 1)); then
        _kaon_offer run inspect snapshot doctor bench help --help --version
        return
    fi
    case ${COMP_WORDS[1]} in
    run) _kaon_run ;;
    snapshot) _kaon_snapshot ;;
    inspect)
        if [[ $cur == -* ]]; then
            _kaon_offer --json --names --help
        else
            _kaon_files '*.elf'
        fi
        ;;
    doctor)
        if [[ $prev == --isolation ]]; then
            _kaon_offer vm process best
        else
            _kaon_offer --json --isolation --help
        fi
        ;;
    bench) _kaon_bench ;;
    help) _kaon_offer run inspect snapshot doctor bench ;;
    esac
}

complete -F _kaon kaon
