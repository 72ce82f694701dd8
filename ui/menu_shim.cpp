/* The in-window menu in Dear ImGui (Debian's libimgui, version 1.86), drawn by SDL's renderer.
 *
 * The only C++ of the program. Debian's library has the SDL2 platform part but no SDL renderer
 * part, so the triangles are handed over here.
 */
#include "ui/menu.h"

#include <backends/imgui_impl_sdl.h>
#include <cfloat>
#include <cstddef>
#include <cstdio>
#include <cstring>
#include <imgui.h>
#include <new>

struct Menu {
    ImGuiContext *context;
    SDL_Window *window;
    SDL_Renderer *renderer;
    SDL_Texture *font;
    float scale; /* output pixels to one of the menu */
};

static const float VOLUME_WIDTH = 150;

enum { UNIT_WIDTH = 640, UNIT_HEIGHT = 400, MOST_SCALE = 3 }; /* a window that has room for twice */

static SDL_Texture *make_font(SDL_Renderer *renderer)
{
    unsigned char *pixels = nullptr;
    int width = 0, height = 0;
    ImGui::GetIO().Fonts->GetTexDataAsRGBA32(&pixels, &width, &height);
    SDL_Texture *font = SDL_CreateTexture(renderer, SDL_PIXELFORMAT_ABGR8888,
                                          SDL_TEXTUREACCESS_STATIC, width, height);
    if (font) {
        SDL_UpdateTexture(font, nullptr, pixels, 4 * width);
        SDL_SetTextureBlendMode(font, SDL_BLENDMODE_BLEND);
        ImGui::GetIO().Fonts->SetTexID(font);
    }
    return font;
}

Menu *menu_new(SDL_Window *window, SDL_Renderer *renderer)
{
    Menu *menu = new (std::nothrow) Menu();
    if (!menu) {
        return nullptr;
    }
    menu->context = ImGui::CreateContext();
    menu->window = window;
    menu->renderer = renderer;
    ImGuiIO &io = ImGui::GetIO();
    io.IniFilename = nullptr;
    io.LogFilename = nullptr;
    io.ConfigFlags |= ImGuiConfigFlags_NavEnableKeyboard;
    io.BackendFlags |= ImGuiBackendFlags_RendererHasVtxOffset;
    ImGui::StyleColorsDark();
    /* Text of the guest must not shine through. */
    ImGui::GetStyle().Colors[ImGuiCol_WindowBg].w = 1;
    ImGui::GetStyle().Colors[ImGuiCol_PopupBg].w = 1;
    ImGui::GetStyle().Colors[ImGuiCol_TextDisabled] = ImVec4(0.72F, 0.72F, 0.72F, 1);
    ImGui_ImplSDL2_InitForSDLRenderer(window);
    menu->font = make_font(renderer);
    if (!menu->font) {
        menu_free(menu);
        return nullptr;
    }
    return menu;
}

void menu_free(Menu *menu)
{
    if (!menu) {
        return;
    }
    if (menu->font) {
        SDL_DestroyTexture(menu->font);
    }
    ImGui_ImplSDL2_Shutdown();
    ImGui::DestroyContext(menu->context);
    delete menu;
}

void menu_event(Menu *menu, const SDL_Event *event)
{
    if (menu) {
        ImGui_ImplSDL2_ProcessEvent(event);
    }
}

static void draw_command(SDL_Renderer *renderer, const ImDrawList *list, const ImDrawCmd *command)
{
    const SDL_Rect clip = {(int)command->ClipRect.x, (int)command->ClipRect.y,
                           (int)(command->ClipRect.z - command->ClipRect.x),
                           (int)(command->ClipRect.w - command->ClipRect.y)};
    if (clip.w <= 0 || clip.h <= 0) {
        return;
    }
    const ImDrawVert *vertices = list->VtxBuffer.Data + command->VtxOffset;
    const char *bytes = reinterpret_cast<const char *>(vertices);
    SDL_RenderSetClipRect(renderer, &clip);
    SDL_RenderGeometryRaw(
        renderer, static_cast<SDL_Texture *>(command->GetTexID()),
        reinterpret_cast<const float *>(bytes + offsetof(ImDrawVert, pos)), sizeof(ImDrawVert),
        reinterpret_cast<const SDL_Color *>(bytes + offsetof(ImDrawVert, col)), sizeof(ImDrawVert),
        reinterpret_cast<const float *>(bytes + offsetof(ImDrawVert, uv)), sizeof(ImDrawVert),
        list->VtxBuffer.Size - (int)command->VtxOffset, list->IdxBuffer.Data + command->IdxOffset,
        (int)command->ElemCount, sizeof(ImDrawIdx));
}

static void draw_lists(const Menu *menu, const ImDrawData *data)
{
    SDL_Renderer *renderer = menu->renderer;
    SDL_RenderSetScale(renderer, menu->scale, menu->scale);
    for (int i = 0; i < data->CmdListsCount; i++) {
        const ImDrawList *list = data->CmdLists[i];
        for (const ImDrawCmd &command : list->CmdBuffer) {
            if (!command.UserCallback) {
                draw_command(renderer, list, &command);
            }
        }
    }
    SDL_RenderSetClipRect(renderer, nullptr);
    SDL_RenderSetScale(renderer, 1, 1);
}

/* Drawn pixel by pixel, the menu would be too small to read in a large window. */
static void begin_frame(Menu *menu, bool with_input)
{
    ImGuiIO &io = ImGui::GetIO();
    int width = 0, height = 0, out_width = 0, out_height = 0;
    SDL_GetWindowSize(menu->window, &width, &height);
    SDL_GetRendererOutputSize(menu->renderer, &out_width, &out_height);
    int scale = out_width / UNIT_WIDTH < out_height / UNIT_HEIGHT ? out_width / UNIT_WIDTH
                                                                  : out_height / UNIT_HEIGHT;
    scale = scale < 1 ? 1 : scale > MOST_SCALE ? MOST_SCALE : scale;
    menu->scale = (float)scale;
    if (with_input) {
        ImGui_ImplSDL2_NewFrame();
        /* Enter presses a button, as it does elsewhere; Dear ImGui knows only the space bar. */
        bool enter = io.KeysDown[SDL_SCANCODE_RETURN] || io.KeysDown[SDL_SCANCODE_KP_ENTER];
        io.NavInputs[ImGuiNavInput_Activate] = enter && !io.WantTextInput ? 1.0F : 0.0F;
    } else {
        io.DeltaTime = 1.0F / 60;
        io.MousePos = ImVec2(-FLT_MAX, -FLT_MAX);
    }
    io.DisplaySize = ImVec2((float)out_width / menu->scale, (float)out_height / menu->scale);
    if (io.MousePos.x > -FLT_MAX && width > 0 && height > 0) {
        io.MousePos.x *= io.DisplaySize.x / (float)width;
        io.MousePos.y *= io.DisplaySize.y / (float)height;
    }
    ImGui::NewFrame();
}

/* Puts what is drawn next, `width` wide, beside what was drawn last if there is room for it. */
static void beside(float width)
{
    const float right = ImGui::GetWindowPos().x + ImGui::GetWindowContentRegionMax().x;
    if (ImGui::GetItemRectMax().x + ImGui::GetStyle().ItemSpacing.x + width <= right) {
        ImGui::SameLine();
    }
}

static float button_width(const char *label)
{
    return ImGui::CalcTextSize(label, nullptr, true).x + 2 * ImGui::GetStyle().FramePadding.x;
}

static bool next_button(const char *label)
{
    beside(button_width(label));
    return ImGui::Button(label);
}

/* A button that asks again; `asked` holds whether it has. */
static bool careful_button(const char *label, const char *question, bool *asked)
{
    bool pressed = false;
    char text[80]; /* behind ### stands what the button is called, so that keys stay on it */
    snprintf(text, sizeof(text), "%s###%s", *asked ? question : label, label);
    if (!*asked) {
        *asked = ImGui::Button(text);
        return false;
    }
    ImGui::PushStyleColor(ImGuiCol_Button, ImVec4(0.65F, 0.1F, 0.1F, 1));
    ImGui::PushStyleColor(ImGuiCol_ButtonHovered, ImVec4(0.8F, 0.1F, 0.1F, 1));
    pressed = ImGui::Button(text);
    ImGui::PopStyleColor(2);
    *asked = !pressed;
    return pressed;
}

static MenuAction draw_machine(MenuModel *model)
{
    MenuAction action = MENU_NONE;
    if (ImGui::Button(model->paused ? "Resume###Pause" : "Pause###Pause")) {
        action = MENU_PAUSE;
    }
    ImGui::SetItemDefaultFocus();
    beside(button_width("Reset"));
    if (careful_button("Reset", "Really reset", &model->reset_asked)) {
        action = MENU_RESET;
    }
    if (next_button("Power button")) {
        action = MENU_POWER;
    }
    if (next_button("Ctrl-Alt-Del")) {
        action = MENU_CTRL_ALT_DEL;
    }
    return action;
}

static MenuAction draw_drive(MenuDrive *drive)
{
    MenuAction action = MENU_NONE;
    ImGui::Separator();
    ImGui::Text("%s: %s", drive->label, drive->file[0] ? drive->file : "(empty)");
    ImGui::SetNextItemWidth(-265);
    bool entered =
        ImGui::InputTextWithHint("##path", "image file, or drop one on the window", drive->path,
                                 sizeof(drive->path), ImGuiInputTextFlags_EnterReturnsTrue);
    ImGui::SameLine();
    if (ImGui::Button("Choose")) {
        action = MENU_CHOOSE;
    }
    ImGui::SameLine();
    if ((ImGui::Button("Insert") || entered) && drive->path[0]) {
        action = MENU_INSERT;
    }
    if (next_button("Eject")) {
        action = MENU_EJECT;
    }
    ImGui::SameLine();
    ImGui::Checkbox("r/o", &drive->read_only);
    return action;
}

static MenuAction draw_list(MenuModel *model)
{
    MenuAction action = MENU_NONE;
    const MenuSnapshot *now = &model->snapshot[model->snapshot_chosen];
    char text[128];
    snprintf(text, sizeof(text), "%s   %s", now->name, now->when);
    ImGui::SetNextItemWidth(-170);
    if (ImGui::BeginCombo("##snapshots", text)) {
        for (unsigned i = 0; i < model->snapshots; i++) {
            const MenuSnapshot *s = &model->snapshot[i];
            snprintf(text, sizeof(text), "%s   %s##%u", s->name, s->when, i);
            if (ImGui::Selectable(text, i == model->snapshot_chosen)) {
                model->snapshot_chosen = i;
                model->load_asked = model->delete_asked = false;
                action = MENU_SNAPSHOT_CHOSEN;
            }
        }
        ImGui::EndCombo();
    }
    if (careful_button("Load snapshot", "Lose what came since, and load", &model->load_asked)) {
        action = MENU_SNAPSHOT_LOAD;
    }
    beside(button_width("Delete"));
    if (careful_button("Delete", "Delete for ever", &model->delete_asked)) {
        action = MENU_SNAPSHOT_DELETE;
    }
    return action;
}

static bool has_snapshot(const MenuModel *model, const char *name)
{
    for (unsigned i = 0; i < model->snapshots; i++) {
        if (strcmp(model->snapshot[i].name, name) == 0) {
            return true;
        }
    }
    return false;
}

static MenuAction draw_snapshots(MenuModel *model)
{
    MenuAction action = MENU_NONE;
    ImGui::Separator();
    ImGui::BeginGroup();
    ImGui::SetNextItemWidth(-170);
    const bool entered = ImGui::InputTextWithHint(
        "##snapshot", "a new snapshot's name", model->snapshot_name, sizeof(model->snapshot_name),
        ImGuiInputTextFlags_EnterReturnsTrue);
    const bool there = has_snapshot(model, model->snapshot_name);
    model->save_asked = model->save_asked && there;
    if (there && !entered) {
        if (careful_button("Save snapshot", "Replace the one of that name", &model->save_asked)) {
            action = MENU_SNAPSHOT_SAVE;
        }
    } else if (ImGui::Button("Save snapshot") || entered) {
        action = there && !model->save_asked ? MENU_NONE : MENU_SNAPSHOT_SAVE;
        model->save_asked = there && !model->save_asked;
    }
    if (model->snapshots) {
        const MenuAction other = draw_list(model);
        action = other != MENU_NONE ? other : action;
    }
    ImGui::EndGroup();
    if (model->thumb) {
        int width = 0, height = 0;
        SDL_QueryTexture(model->thumb, nullptr, nullptr, &width, &height);
        ImGui::SameLine();
        ImGui::Image(model->thumb, ImVec2((float)width * 0.75F, (float)height * 0.75F));
    }
    return action;
}

static MenuAction draw_speeds(MenuModel *model)
{
    MenuAction action = MENU_NONE;
    beside(button_width("Speed:") + 120);
    ImGui::TextUnformatted("Speed:");
    ImGui::SameLine();
    ImGui::SetNextItemWidth(110);
    if (!ImGui::BeginCombo("##speed", model->speed)) {
        return action;
    }
    for (const char *line = model->speeds, *end; (end = strchr(line, '\n')); line = end + 1) {
        char name[sizeof(model->speed)];
        snprintf(name, sizeof(name), "%.*s", (int)(end - line), line);
        if (!strchr(name, ' ') && ImGui::Selectable(name, strcmp(name, model->speed) == 0)) {
            memcpy(model->speed_chosen, name, sizeof(name));
            action = MENU_SPEED;
        }
    }
    ImGui::EndCombo();
    return action;
}

static MenuAction draw_engines(MenuModel *model)
{
    static const char *const engines[] = {"interpreter", "translator", "kvm"};
    MenuAction action = MENU_NONE;
    ImGui::Separator();
    ImGui::AlignTextToFramePadding();
    ImGui::TextUnformatted("Engine:");
    for (const char *engine : engines) {
        beside(button_width(engine) + ImGui::GetFrameHeight());
        if (ImGui::RadioButton(engine, strcmp(engine, model->engine) == 0)) {
            model->engine_chosen = engine;
            action = MENU_ENGINE;
        }
    }
    const MenuAction other = draw_speeds(model);
    return other != MENU_NONE ? other : action;
}

static MenuAction draw_look(MenuModel *model)
{
    static const char *const scalings[] = {"Scale: integer###Scale", "Scale: aspect###Scale",
                                           "Scale: smooth###Scale"};
    MenuAction action = MENU_NONE;
    bool lines = model->scanlines;
    ImGui::Separator();
    if (ImGui::Button(scalings[model->scaling % 3])) {
        action = MENU_SCALING;
    }
    ImGui::SameLine();
    if (ImGui::Checkbox("Scan lines", &lines)) {
        action = MENU_SCANLINES;
    }
    if (next_button(model->full_screen ? "Leave full screen###Full screen"
                                       : "Full screen###Full screen")) {
        action = MENU_FULL_SCREEN;
    }
    if (model->volume >= 0) {
        beside(VOLUME_WIDTH);
        ImGui::SetNextItemWidth(VOLUME_WIDTH);
        if (ImGui::SliderInt("##volume", &model->volume, 0, 100, "Volume %d%%")) {
            action = MENU_VOLUME;
        }
    }
    return action;
}

static MenuAction draw_take(const MenuModel *model)
{
    MenuAction action = MENU_NONE;
    ImGui::Separator();
    if (ImGui::Button("Screenshot")) {
        action = MENU_SCREENSHOT;
    }
    if (next_button(model->recording ? "Stop recording###Record video"
                                     : "Record video###Record video")) {
        action = MENU_RECORD;
    }
    if (next_button("Copy text")) {
        action = MENU_COPY;
    }
    if (next_button("Paste")) {
        action = MENU_PASTE;
    }
    if (next_button("Find")) {
        action = MENU_FIND;
    }
    return action;
}

static MenuAction draw_end(MenuModel *model)
{
    MenuAction action = MENU_NONE;
    ImGui::Separator();
    if (ImGui::Button("Close menu")) {
        action = MENU_CLOSE;
    }
    beside(button_width("Quit"));
    if (careful_button("Quit", "Really quit", &model->quit_asked)) {
        action = MENU_QUIT;
    }
    return action;
}

static void draw_keys(const MenuModel *model)
{
    ImGui::Separator();
    ImGui::PushTextWrapPos(0);
    ImGui::TextDisabled("%s +  P pause  B reset  H power button  Del Ctrl-Alt-Del  Q quit",
                        model->host_key);
    ImGui::TextDisabled("S screenshot  R record  C copy  V paste  F find  M menu");
    ImGui::TextDisabled("Enter full screen  L scale  I scan lines  G grab or release the mouse");
    ImGui::PopTextWrapPos();
    if (model->notice[0]) {
        ImGui::TextWrapped("%s", model->notice);
    }
}

static MenuAction draw_files(MenuModel *model)
{
    MenuAction action = MENU_NONE;
    const float room = ImGui::GetIO().DisplaySize.y - 150;
    ImGui::Text("For %s:", model->drive[model->chosen].label);
    ImGui::TextWrapped("%s", model->folder);
    const float height = room < 60 ? 60 : room > 300 ? 300 : room;
    ImGui::BeginChild(model->folder, ImVec2(0, height), true, ImGuiWindowFlags_NavFlattened);
    for (unsigned i = 0; i < model->files; i++) {
        const MenuFile *file = &model->file[i];
        char text[300];
        snprintf(text, sizeof(text), "%.280s%s##%u", file->name, file->folder ? "/" : "", i);
        if (ImGui::Selectable(text)) {
            model->file_chosen = i;
            action = MENU_FILE_CHOSEN;
        }
    }
    ImGui::EndChild();
    if (ImGui::Button("Cancel")) {
        action = MENU_CHOOSE_END;
    }
    if (model->notice[0]) {
        ImGui::TextWrapped("%s", model->notice);
    }
    return action;
}

static MenuAction draw_menu(MenuModel *model)
{
    if (model->choosing) {
        return draw_files(model);
    }
    MenuAction action = draw_machine(model);
    for (unsigned i = 0; i < model->drives; i++) {
        ImGui::PushID((int)i);
        const MenuAction chosen = draw_drive(&model->drive[i]);
        if (chosen != MENU_NONE) {
            action = chosen;
            model->chosen = i;
        }
        ImGui::PopID();
    }
    const MenuAction others[] = {draw_engines(model), draw_look(model), draw_take(model),
                                 draw_snapshots(model), draw_end(model)};
    draw_keys(model);
    for (const MenuAction other : others) {
        action = other != MENU_NONE ? other : action;
    }
    return action;
}

/* The search field; the keys stay with it. */
static MenuAction draw_find(MenuModel *model, bool opened)
{
    MenuAction action = MENU_NONE;
    char before[sizeof(model->find)];
    memcpy(before, model->find, sizeof(before));
    if (opened) {
        ImGui::SetKeyboardFocusHere();
    }
    ImGui::SetNextItemWidth(-180);
    if (ImGui::InputTextWithHint("##find", "find on the screen", model->find, sizeof(model->find),
                                 ImGuiInputTextFlags_EnterReturnsTrue |
                                     ImGuiInputTextFlags_AutoSelectAll)) {
        action = MENU_FIND_NEXT;
        ImGui::SetKeyboardFocusHere(-1);
    }
    if (strcmp(before, model->find) != 0) {
        action = MENU_FIND_EDITED;
    }
    ImGui::SameLine();
    ImGui::TextUnformatted(model->found);
    return action;
}

MenuAction menu_draw(Menu *menu, MenuModel *model, bool opened)
{
    begin_frame(menu, true);
    const ImVec2 size = ImGui::GetIO().DisplaySize;
    const float width = size.x < 620 ? size.x : 620;
    const bool low = model->finding && model->find_low;
    ImGui::SetNextWindowPos(ImVec2((size.x - width) / 2, low ? size.y - 8 : 8), ImGuiCond_Always,
                            ImVec2(0, low ? 1 : 0));
    ImGui::SetNextWindowSize(ImVec2(width, 0), ImGuiCond_Always);
    if (opened) {
        ImGui::SetNextWindowFocus();
        model->reset_asked = model->quit_asked = model->save_asked = false;
        model->load_asked = model->delete_asked = model->choosing = false;
    }
    const ImGuiWindowFlags flags =
        ImGuiWindowFlags_NoMove | ImGuiWindowFlags_NoResize | ImGuiWindowFlags_NoCollapse;
    MenuAction action;
    if (model->finding) {
        ImGui::Begin("Find", nullptr, flags | ImGuiWindowFlags_NoTitleBar);
        action = draw_find(model, opened);
    } else {
        ImGui::Begin(model->title, nullptr, flags);
        action = draw_menu(model);
    }
    ImGui::End();
    ImGui::Render();
    draw_lists(menu, ImGui::GetDrawData());
    return action;
}

void menu_toast(Menu *menu, const char *text)
{
    const float gap = 8, pad = 6;
    begin_frame(menu, false);
    const ImVec2 room = ImGui::GetIO().DisplaySize;
    const float wrap = room.x - 2 * (gap + pad);
    ImDrawList *list = ImGui::GetForegroundDrawList();
    const ImVec2 size = ImGui::CalcTextSize(text, nullptr, false, wrap);
    const ImVec2 at((room.x - size.x) / 2, room.y - gap - pad - size.y);
    list->AddRectFilled(ImVec2(at.x - pad, at.y - pad),
                        ImVec2(at.x + size.x + pad, at.y + size.y + pad), IM_COL32(20, 20, 20, 255),
                        3);
    list->AddRect(ImVec2(at.x - pad, at.y - pad), ImVec2(at.x + size.x + pad, at.y + size.y + pad),
                  IM_COL32(110, 110, 128, 255), 3);
    list->AddText(ImGui::GetFont(), ImGui::GetFontSize(), at, IM_COL32_WHITE, text, nullptr, wrap);
    ImGui::Render();
    draw_lists(menu, ImGui::GetDrawData());
}
